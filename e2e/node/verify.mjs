// jose: verifies the token against the published keys, and exchanges it at the stand-in.

import { readFile } from "node:fs/promises";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const { TOKEN_FILE, JWKS_URL, ISSUER, AUDIENCE, SUBJECT, PROVIDER, STAND_IN_HTTP } = process.env;

function outcome(admitted, says) {
  console.log(JSON.stringify({ admitted, says }));
}

try {
  const token = (await readFile(TOKEN_FILE, "ascii")).trim();
  await jwtVerify(token, createRemoteJWKSet(new URL(JWKS_URL)), {
    issuer: ISSUER,
    audience: AUDIENCE,
    subject: SUBJECT,
    algorithms: ["RS256", "ES256"],
    requiredClaims: ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"],
  });
  const answer = await fetch(`${STAND_IN_HTTP}/v1/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      audience: PROVIDER,
      subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      subject_token: token,
    }),
  });
  const body = await answer.json();
  if (body.error) outcome(false, `${body.error}: ${body.error_description}`);
  else outcome(true, body.access_token);
} catch (error) {
  if (error instanceof errors.JOSEError) outcome(false, `${error.code}: ${error.message}`);
  else if (error.code === "ENOENT") outcome(false, `no token: ${error.path}`);
  else throw error;
}
