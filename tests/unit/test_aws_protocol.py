"""The wire rules of the embedded AWS server, without a server: checking, encoding, signatures, paging."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import Shape

import embedded.aws.app  # noqa: F401 - registers the operations
from embedded.aws.errors import AwsError
from embedded.aws.paging import decode_token, encode_token, select
from embedded.aws.protocol.checking import Checker, python_pattern
from embedded.aws.protocol.encoding import encode
from embedded.aws.protocol.signature import SignatureCheck
from embedded.aws.registry import OPERATIONS

SESSION = botocore.session.get_session()


def _input(service: str, operation: str) -> Any:
    return SESSION.get_service_model(service).operation_model(operation).input_shape


def _patterns(shape: Shape | None, seen: set[str]) -> set[str]:
    if shape is None or shape.name in seen:
        return set()
    seen.add(shape.name)
    found = {shape.metadata["pattern"]} if "pattern" in shape.metadata else set()
    members: list[Shape] = []
    if shape.type_name == "structure":
        members = list(shape.members.values())
    elif shape.type_name == "list":
        members = [shape.member]
    elif shape.type_name == "map":
        members = [shape.key, shape.value]
    return found.union(*(_patterns(member, seen) for member in members))


def test_every_pattern_of_every_offered_operation_compiles() -> None:
    for service, operation in OPERATIONS:
        for pattern in _patterns(_input(service, operation), set()):
            python_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "Équipe fraude_1.2:/=+-@", "tab\tinside"),
        (r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,128}", "a b", "a#b"),
        (r"\p{ASCII}*", "plain; text", "é"),
        (r"\A\S[\p{Print}]*\z", "x y", " x"),
        (r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", "fraud-desk", "fraud_desk"),
    ],
)
def test_java_patterns_mean_the_same_in_python(pattern: str, good: str, bad: str) -> None:
    assert python_pattern(pattern).fullmatch(good)
    assert not python_pattern(pattern).fullmatch(bad)


def _violations(service: str, operation: str, value: dict[str, Any]) -> list[str]:
    checker = Checker()
    checker.decode(_input(service, operation), value)
    return checker.violations


def test_missing_members_are_named_by_path() -> None:
    job = {"TrainingJobName": "j", "RoleArn": "arn:aws:iam::000000000000:role/x", "OutputDataConfig": {}}
    assert _violations("sagemaker", "CreateTrainingJob", job) == [
        "Value null at 'outputDataConfig.s3OutputPath' failed to satisfy constraint: Member must not be null"
    ]


def test_members_of_lists_are_numbered_from_one() -> None:
    tags = {"ResourceArn": "arn:aws:sagemaker:us-east-1:000000000000:model/x", "Tags": [{"Key": "", "Value": "v"}]}
    (violation,) = _violations("sagemaker", "AddTags", tags)
    assert "at 'tags.1.member.key'" in violation
    assert "length greater than or equal to 1" in violation


@pytest.mark.parametrize("value", [{"MaxResults": "5"}, {"MaxResults": True}, {"NameContains": 3}, []])
def test_wrong_json_types_are_serialization_errors(value: Any) -> None:
    with pytest.raises(AwsError) as caught:
        Checker().decode(_input("sagemaker", "ListModels"), value)
    assert caught.value.code == "SerializationException"


def test_timestamps_and_blobs_are_decoded() -> None:
    decoded = Checker().decode(_input("sagemaker", "ListModels"), {"CreationTimeAfter": 1_700_000_000.5})
    assert decoded == {"CreationTimeAfter": datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)}
    code = {"FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/x", "Code": {"ZipFile": "UEs="}}
    assert Checker().decode(_input("lambda", "CreateFunction"), code)["Code"] == {"ZipFile": b"PK"}


def test_answers_leave_out_what_the_shape_does_not_have() -> None:
    shape = SESSION.get_service_model("sagemaker").operation_model("DescribeModel").output_shape
    record = {"ModelName": "m", "CreationTime": datetime(2026, 1, 1, tzinfo=UTC), "internal": 1, "Containers": None}
    assert encode(shape, record) == {"ModelName": "m", "CreationTime": 1_767_225_600.0}


def _signed(secret: str, *, query: str = "", body: bytes = b"{}") -> dict[str, str]:
    url = "http://127.0.0.1:1/2015-03-31/functions/arn%3Aaws%3Alambda/invocations" + (f"?{query}" if query else "")
    request = AWSRequest(method="POST", url=url, data=body, headers={"X-Amz-Log-Type": "Tail", "Host": "127.0.0.1:1"})
    SigV4Auth(Credentials("AKIDEXAMPLE", secret), "lambda", "us-east-1").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def _check(headers: dict[str, str], *, query: str = "", body: bytes = b"{}", ahead_seconds: int = 0) -> None:
    check = SignatureCheck("AKIDEXAMPLE", "secret", now=lambda: datetime.now(UTC) + timedelta(seconds=ahead_seconds))
    check.check("POST", "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations", query, headers, body)


def test_signatures_of_botocore_are_accepted() -> None:
    _check(_signed("secret"))
    query = "Qualifier=%24LATEST&A=b%20c&Empty="
    _check(_signed("secret", query=query), query=query)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"body": b"{ }"}, "InvalidSignatureException"),
        ({"query": "x=1"}, "InvalidSignatureException"),
        ({"ahead_seconds": 1000}, "InvalidSignatureException"),
    ],
)
def test_changed_requests_are_refused(change: dict[str, Any], code: str) -> None:
    with pytest.raises(AwsError) as caught:
        _check(_signed("secret"), **change)
    assert (caught.value.code, caught.value.status) == (code, 403)


def test_unsigned_and_foreign_requests_are_refused() -> None:
    for headers, code in (({}, "MissingAuthenticationToken"), (_signed("other"), "InvalidSignatureException")):
        with pytest.raises(AwsError) as caught:
            _check(headers)
        assert caught.value.code == code


def test_pages_do_not_repeat_or_skip_when_records_come_and_go() -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    records = [{"Name": f"n{i}", "CreationTime": day + timedelta(hours=i // 2)} for i in range(6)]
    settings: dict[str, Any] = {"name": "Name", "sort_fields": {"Name": "Name"}, "descending": True}
    first, token = select(records, {"MaxResults": 2}, **settings)
    assert [record["Name"] for record in first] == ["n5", "n4"]
    records = [record for record in records if record["Name"] != "n4"] + [
        {"Name": "new", "CreationTime": day + timedelta(days=1)}
    ]
    second, token = select(records, {"MaxResults": 3, "NextToken": token}, **settings)
    assert [record["Name"] for record in second] == ["n3", "n2", "n1"]
    third, token = select(records, {"MaxResults": 3, "NextToken": token}, **settings)
    assert [record["Name"] for record in third] == ["n0"]
    assert token is None


def test_tokens_round_trip_and_foreign_ones_are_refused() -> None:
    assert decode_token(encode_token([5, "name"])) == [5, "name"]
    for text in ("%%%", "bm90IGpzb24", "é"):
        with pytest.raises(ValueError, match="invalid token"):
            decode_token(text)
