"""azure-identity: from the token file that its environment names to an access token, over TLS."""

import os

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import WorkloadIdentityCredential

from outcome import admitted, refused

try:
    credential = WorkloadIdentityCredential(
        authority=os.environ["STAND_IN_HTTPS"], disable_instance_discovery=True
    )
    admitted(credential.get_token("https://management.azure.com/.default").token)
except ClientAuthenticationError as error:
    refused(str(error))
except FileNotFoundError as error:
    refused(f"no token: {error.filename}")
