// Asks Countersign whether a token may be issued for a run: POST /v1/decisions.
import { readFileSync } from "node:fs";

/** What a token may have at most. */
export interface Terms {
  audiences: string[];
  ttl_seconds: number;
  claims: Record<string, string>;
}

/** A reason for a refusal. */
export interface Reason {
  code: string;
  message: string;
  source: "policy" | "host";
}

/** An answer. */
export type Decision =
  | { outcome: "approved"; decision: string; subject: string; terms: Terms }
  | { outcome: "refused"; decision: string; subject: string; reasons: Reason[] };

/** Asks for a decision. Rejects unless there is one: refuse then. */
export async function decide(
  url: string,
  apiKey: string,
  run: unknown,
  audience: string,
  ttlSeconds: number,
): Promise<Decision> {
  const response = await fetch(`${url}/v1/decisions`, {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ run, audiences: [audience], ttl_seconds: ttlSeconds }),
    // A credential is for this URL alone.
    redirect: "error",
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  if (response.status !== 200) {
    throw new Error(`status ${response.status}: ${text}`);
  }
  const answer = JSON.parse(text) as Decision;
  if (answer.outcome === "approved" && answer.terms) {
    return answer;
  }
  if (answer.outcome === "refused") {
    return answer;
  }
  throw new Error("an outcome that is not known");
}

function variable(name: string): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set`);
  }
  return value;
}

async function main(): Promise<number> {
  const apiKey = readFileSync(variable("API_KEY_FILE"), "ascii").trim();
  const run: unknown = JSON.parse(readFileSync(variable("RUN_FILE"), "utf8"));
  const ttl = Number(variable("TTL_SECONDS"));
  const answer = await decide(variable("SERVICE_URL"), apiKey, run, variable("AUDIENCE"), ttl);
  console.log(JSON.stringify(answer));
  return answer.outcome === "approved" ? 0 : 2;
}

main().then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  },
);
