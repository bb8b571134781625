"""google-auth: from the credentials file that its environment names, which has a file or a URL, to an access token."""

import os

import google.auth.exceptions
import google.auth.transport.requests
from google.auth import identity_pool

from outcome import admitted, refused

credentials = identity_pool.Credentials.from_file(
    os.environ["GOOGLE_APPLICATION_CREDENTIALS"], scopes=["https://www.googleapis.com/auth/cloud-platform"]
)
try:
    credentials.refresh(google.auth.transport.requests.Request())
    admitted(credentials.token)
except (google.auth.exceptions.OAuthError, google.auth.exceptions.RefreshError) as error:
    refused(str(error))
