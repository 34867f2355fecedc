"""Make S3 buckets that are not there yet.

python infra/buckets.py NAME…      at AWS_ENDPOINT_URL, with the AWS_* credentials of the environment
"""

import sys

import boto3
from botocore.exceptions import ClientError


def main(names: list[str]) -> None:
    """Create each bucket, unless it is there and opens for us.

    Raises:
        ClientError: it cannot be created, or belongs to somebody else.
    """
    storage = boto3.client("s3", region_name="us-east-1")
    for name in names:
        try:
            storage.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                raise
            storage.create_bucket(Bucket=name)
        print(f"bucket {name} is there")


if __name__ == "__main__":
    main(sys.argv[1:])
