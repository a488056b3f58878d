import io

from tasks.nodule_ct.sheet import draw_samples


def test_the_sheet_has_a_row_for_each_hospital_and_a_block_for_each_class(cohorts):
    named = {f"hospital {number}": cohort for number, cohort in enumerate(cohorts[:3])}
    figure = draw_samples(named, ["benign", "malignant"])
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[:2]] == ["benign", "malignant"]
    assert "hospital 2" in figure.axes[4].get_ylabel()
    assert "Rendered" in figure.get_suptitle()


def test_a_block_goes_from_small_to_large(cohorts):
    figure = draw_samples({"one": cohorts[0]}, ["benign", "malignant"])
    for axes in figure.axes:
        sizes = [int(text.get_text()) for text in axes.texts]
        assert len(sizes) == 6
        assert sizes == sorted(sizes)


def test_the_sheet_can_be_saved_without_a_display(cohorts):
    file = io.BytesIO()
    draw_samples({"one": cohorts[4]}, ["benign", "malignant"]).savefig(file, format="png", dpi=40)
    assert file.getvalue().startswith(b"\x89PNG")
