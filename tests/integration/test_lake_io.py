"""Deleting a file of the lake leaves its neighbours where they are."""

from __future__ import annotations

from services.adapters import aws
from services.adapters.iceberg_io import LakeFileIO
from services.settings import Settings


def test_deleting_one_file_hides_no_other(settings: Settings, s3_endpoint: str) -> None:
    client = aws.client("s3", region=settings.region)
    base = f"warehouse/{settings.database}/metadata"
    for number in range(3):
        client.put_object(Bucket=settings.bucket, Key=f"{base}/{number}.json", Body=b"{}")
    files = LakeFileIO({"s3.region": settings.region, "s3.endpoint": s3_endpoint})
    files.delete(f"s3://{settings.bucket}/{base}/0.json")
    files.delete(f"s3://{settings.bucket}/{base}/0.json")
    client.put_object(Bucket=settings.bucket, Key=f"{base}/3.json", Body=b"{}")
    held = client.list_objects_v2(Bucket=settings.bucket, Prefix=base)["Contents"]
    assert [item["Key"].rsplit("/", 1)[1] for item in held] == ["1.json", "2.json", "3.json"]
    assert client.get_object(Bucket=settings.bucket, Key=f"{base}/1.json")["Body"].read() == b"{}"
