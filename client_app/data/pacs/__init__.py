"""From the hospital's archive of images, the PACS, to files on its own disk."""
