"""CSV, JSON and JSON Lines in and out of the container: one rule for what is missing, the versions in every answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from model.loaded_model import ONNX, Model
from tests.unit.model_serving import BODY, EXPLAINED, Running, artifact, serving


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(artifact(tmp_path_factory.mktemp("artifact")), version="v3")


@pytest.fixture
def running(model: Model) -> Iterator[Running]:
    with serving(model) as made:
        yield made


def test_every_format_in_gives_the_same_scores_and_every_format_out_says_the_version(running: Running) -> None:
    rows = [[0.5, None, 2.0], [1.0, -1.0, 0.25]]
    bodies = {
        "application/json": json.dumps({"instances": rows}).encode(),
        "text/csv": b'0.5,,2\r\n1e0,-1.0,"0.25"\n',
        "application/jsonlines": b'[0.5, NaN, 2.0]\n\n{"features": [1, -1, 0.25]}\n',
    }
    expected = running.server.model.score(np.array([[0.5, np.nan, 2], [1, -1, 0.25]], dtype=np.float32)).tolist()
    for kind, body in bodies.items():
        status, headers, answer = running.call(body, Content_Type=kind)
        assert (status, headers["content-type"]) == (200, "application/json")
        said = "model_version=v3;features_version=1;engine=onnxruntime"
        assert headers["x-amzn-sagemaker-custom-attributes"] == said
        document = json.loads(answer)
        assert document["scores"] == expected
        assert (document["model_version"], document["engine"], document["contributions"]) == ("v3", ONNX, None)
        table = running.call(body, Content_Type=kind, Accept="text/csv")[2].decode()
        assert [line.split(",") for line in table.splitlines()] == [[repr(s), "v3"] for s in expected]
        status, headers, answer = running.call(body, Content_Type=kind, Accept="application/x-ndjson, */*")
        lines = [json.loads(line) for line in answer.decode().splitlines()]
        assert [(line["score"], line["model_version"]) for line in lines] == [(s, "v3") for s in expected]
        assert headers["content-type"] == "application/jsonlines"
    assert running.call(b"[1]", Content_Type="application/jsonlines")[1]["x-amzn-sagemaker-custom-attributes"] == said


def test_reasons_come_as_json_lines_too_and_not_as_csv(running: Running) -> None:
    whole = json.loads(running.call(EXPLAINED)[2])["contributions"]
    status, _, body = running.call(EXPLAINED, Accept="application/jsonlines")
    assert (status, json.loads(body)["contributions"]) == (200, whole[0])
    assert running.call(EXPLAINED, Accept="text/csv")[0] == 406
    assert running.call(BODY, Accept="image/png")[0] == 406


@pytest.mark.parametrize(
    ("kind", "body", "sentence"),
    [
        ("application/json", b'{"instances": [[true, 1.5, 2]]}', "Every feature must be a number or null."),
        ("application/json", b'{"instances": [[null, "1", 2]]}', "Every feature must be a number or null."),
        ("application/json", b'{"instances": ["123"]}', "Every row must be a list"),
        ("application/json", b'{"describe": true, "explain": true}', "The body must be"),
        ("text/csv", b"1,2,1_0", "Every cell of the CSV must be a number"),
        ("text/csv", b"1,2,3\n\n4,5,6", "Every row must be a list"),
        ("application/jsonlines", b"[1,2,3]\n[1,2", "Line 2 is not JSON."),
        ("application/jsonlines", b'[1,2,3]\n{"a": 1}', "Line 2 must be a list of numbers"),
        ("application/jsonlines", b"[1,2,3]\n[1,2]", "Every row must be a list of equally many"),
        ("application/jsonlines", b"\n", "There are no rows to score."),
        ("application/jsonlines", b"[1,2,-Infinity]", "A feature is infinite or too large"),
        ("application/jsonlines", b"[1,2]", "Each row must have 3 features, got 2."),
    ],
)
def test_rows_that_are_none_are_refused_in_every_format(
    running: Running, kind: str, body: bytes, sentence: str
) -> None:
    status, _, answer = running.call(body, Content_Type=kind)
    assert status == 400
    assert json.loads(answer)["error"].startswith(sentence)


def test_the_model_tells_its_features_when_it_is_asked(running: Running) -> None:
    status, _, body = running.call(b'{"describe": true}')
    assert status == 200
    told = json.loads(body)
    assert (told["features"], told["features_version"], told["model_version"]) == (["a", "b", "c"], "1", "v3")
    assert told["scores"] == []
