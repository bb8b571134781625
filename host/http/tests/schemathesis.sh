#!/bin/sh
# Asks the service everything that its OpenAPI description allows, and much that it does not: no answer
# may be a 5xx, or one that is not described. `make schemathesis` calls it; Schemathesis is from PyPI.
set -eu
cd "$(dirname "$0")/../../.."
countersign=${COUNTERSIGN:-target/debug/countersign}
version=${SCHEMATHESIS:-4.32.5}
folder=target/schemathesis
port=${PORT:-8481}
examples=${EXAMPLES:-300}

mkdir -p "$folder"
if [ ! -x "$folder/venv/bin/schemathesis" ]; then
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install -q "schemathesis==$version"
fi
rm -rf "$folder/service"
mkdir -p "$folder/service"
make -s policies > /dev/null
key=$("$countersign" api-key --format json)
hash=$(printf '%s' "$key" | "$folder/venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["sha256"])')
secret=$(printf '%s' "$key" | "$folder/venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["key"])')
cat > "$folder/service/issuer.toml" <<EOF
policies = "../../../examples/six-policies.toml"
state = "state"

[listen]
address = "127.0.0.1:$port"

[[api-key]]
name = "schemathesis"
sha256 = "$hash"
may = ["runs", "decisions", "metrics"]
EOF
"$countersign" serve --config "$folder/service/issuer.toml" 2> "$folder/service/log" &
service=$!
trap 'kill "$service" 2>/dev/null; wait "$service"' EXIT

# Not checked: that everything which the description allows is accepted (a run that has ended is not), and
# that everything which it does not is refused (unknown parameters are ignored, as RFC 6749 wants).
# In its own folder, since it leaves files where it is called.
(cd "$folder" && venv/bin/schemathesis run "http://127.0.0.1:$port/openapi.json" \
    --wait-for-schema 60 --workers 1 --suppress-health-check all --max-examples "$examples" --seed 1 --continue-on-failure \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance,ignored_auth,missing_required_header \
    --phases examples,coverage,fuzzing,stateful \
    -H "Authorization: Bearer $secret")

# Whatever was answered, it is alive, and has said nothing of a secret.
kill -0 "$service"
if grep -F "$secret" "$folder/service/log"; then exit 1; fi
echo "the service is alive, and its log has $(wc -l < "$folder/service/log") lines"
