#!/bin/sh
# Starts the issuer on loopback with the six policies, a development key and one run, and prints how
# to fetch, decode and verify a token. State is in target/serve; Ctrl-C ends it.
set -eu
cd "$(dirname "$0")/.."
countersign=${COUNTERSIGN:-target/debug/countersign}
port=${PORT:-8080}
folder=target/serve
issuer=https://oidc.example.com
audience=aws-workload-identity-provider:demo
runner=98520496-627d-43e6-82da-ce499179ff3f
run=b3116611-e08b-4b00-91c5-10365b25a6ef

# The run ends with the state: a run that has ended cannot be registered again.
rm -rf "$folder"
mkdir -p "$folder"
(
    umask 077
    "$countersign" api-key --format json > "$folder/api-key.json"
    jq -r .key "$folder/api-key.json" > "$folder/api-key"
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$folder/run-token"
)
{
    sed -e 's|^policies = .*|policies = "../../examples/six-policies.toml"|' \
        -e 's|^state = .*|state = "state"|' \
        -e "s|^# address = .*|address = \"127.0.0.1:$port\"|" examples/issuer.toml
    printf '\n[[api-key]]\nname = "development"\nsha256 = "%s"\nmay = ["runs", "decisions", "metrics"]\n' \
        "$(jq -r .sha256 "$folder/api-key.json")"
} > "$folder/issuer.toml"

"$countersign" serve --config "$folder/issuer.toml" --log-format text &
service=$!
trap 'kill "$service" 2>/dev/null; wait "$service"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Policies are prepared before it answers: seconds the first time.
until curl -fsS "http://127.0.0.1:$port/readyz" > /dev/null 2>&1; do
    kill -0 "$service" || exit 1
    sleep 0.2
done

# The published run, with a run token as a runner receives it.
jq --rawfile token "$folder/run-token" '.spec.runToken = $token' examples/run.json |
    curl -fsS -o /dev/null -X PUT "http://127.0.0.1:$port/v1/runs/$run?runner=$runner" \
        -H "Authorization: Bearer $(cat "$folder/api-key")" \
        -H 'Content-Type: application/json' --data-binary @-

cat <<EOF

The issuer listens on http://127.0.0.1:$port, and the run $run is registered.
In another terminal, in $(pwd):

# Fetch a token for the run, as its runner does with the run token
curl -sS http://127.0.0.1:$port/v1/token \\
    -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \\
    -d subject_token_type=urn:ietf:params:oauth:token-type:access_token \\
    -d subject_token="\$(cat $folder/run-token)" \\
    -d run=$run -d audience=$audience \\
    | jq -r .access_token > $folder/token

# Decode it
cut -d. -f2 $folder/token | tr '_-' '/+' | base64 -d 2>/dev/null | jq .

# Verify it against the published keys, as a cloud does
curl -sS http://127.0.0.1:$port/jwks.json > $folder/jwks.json
$countersign verify --key-set $folder/jwks.json --issuer $issuer \\
    --audience $audience < $folder/token

# See the decision, and that nothing in the log was changed
$countersign log tail $folder/state/log
$countersign log verify $folder/state/log

EOF
wait "$service"
