"""The hospital's own store of images, written; ``federation.site_store`` is its layout and reads it."""
