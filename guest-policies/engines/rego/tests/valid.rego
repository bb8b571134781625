# Forms that are right: nothing is said about any of them.
package countersign

import rego.v1

import data.map as listed
import input.run.building_block

owner := building_block.workspace

default life := 900

life := 600 if input.run.behavior == "detect"

permit := {"max_ttl": life, "claims": {"team": owner}} if {
	some_member
	every audience in input.token.audiences {
		some prefix in {"aws-", "api:"}
		startswith(audience, prefix)
	}
	not owner in data.list
	count(deny) == 0
}

# Destructuring, iteration, and variables that are found by an index.
some_member if {
	some index, value in data.list
	index >= 0
	value != owner
}

some_member if {
	some i
	input.run.building_block.parents[i].definition == input.run.building_block.parents[i].building_block
}

some_member if {
	[first, _] := split_once(owner)
	first != ""
}

some_member if listed[owner][_] == "b"

some_member if {
	x := [y | some y in data.list; y != owner]
	count(x) > 1
	{"a": z} = {"a": x}
	z[0] == "b"
}

some_member if {
	walk(data.map, [path, value])
	path[0] == owner
	value == "b"
}

split_once(text) := [head, tail] if {
	parts := split(text, "-")
	head := parts[0]
	tail := concat("-", array.slice(parts, 1, count(parts)))
}

kind := input.run.trigger.author_kind

kind := "none" if not input.run.trigger

weight(behavior) := 1 if {
	behavior == "detect"
} else := 2 if {
	behavior == "apply"
} else := 3

deny contains {"code": "too-heavy", "message": message} if {
	weight(input.run.behavior) > 2
	kind in {"api-key", "api-user"}
	message := sprintf("%s may not be destroyed by %s", [owner, kind])
}

deny contains reason if {
	some code, message in {"odd-number": "numbers are even"}
	input.run.number % 2 == 1
	reason := {"code": code, "message": message}
}

deny contains {"code": "by-pattern", "message": $"{owner} is on the list"} if {
	some pattern in data.patterns
	regex.match(pattern, owner)
}

deny contains {"code": "night", "message": "not at night"} if {
	[hour, _, _] := time.clock([input.token.issued_at * 1000000000, "Europe/Berlin"])
	hour < 6
}

deny contains {"code": "twice", "message": "two audiences of one cloud"} if {
	of_aws := [audience | audience := input.token.audiences[_]; startswith(audience, "aws")]
	count(of_aws) > 1
	not all_same([prefix | prefix := split(input.token.audiences[_], ":")[0]])
}

all_same(texts) if count({text | some text in texts}) == 1
