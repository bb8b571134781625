"""boto3: from the token file that its environment names to credentials of the stand-in."""

import boto3
import botocore.exceptions

from outcome import admitted, refused

try:
    # As the SDK does by itself: AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE.
    credentials = boto3.Session().get_credentials().get_frozen_credentials()
    admitted(credentials.access_key)
except botocore.exceptions.ClientError as error:
    refused(f"{error.response['Error']['Code']}: {error.response['Error']['Message']}")
except FileNotFoundError as error:
    refused(f"no token: {error.filename}")
