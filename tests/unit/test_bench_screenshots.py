from __future__ import annotations

from bench.__main__ import main


def test_pictures_that_have_no_place_are_refused_in_one_sentence_before_anything_is_started(tmp_path, capsys):
    there = tmp_path / "file.png"
    there.write_text("a file")
    assert main(["screenshots", "--out", str(there)]) == 2
    assert main(["screenshots", "--out", str(there / "below")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    first, second = said.err.splitlines()
    assert first == (
        f"No picture was taken: {there} cannot be a folder (a file of that name is there); give another --out."
    )
    assert second.endswith("cannot be a folder (Not a directory); give another --out.")
