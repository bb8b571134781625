# The standard of a platform: runs of `team-` workspaces, with OpenTofu 1.8 or later. Machines alone destroy, and on
# weekdays in Berlin; a dry run gets ten minutes.
package countersign

owner := input.run.building_block.workspace

permit := {"max_ttl": 600} if input.run.behavior == "detect"

permit := {} if input.run.behavior != "detect"

deny contains {"code": "not-a-team", "message": "expected a workspace whose name begins with `team-`"} if {
	not startswith(owner, "team-")
}

destroys if input.run.behavior == "destroy"

# Undefined without a trigger, so that nobody counts as a machine.
by_a_machine if input.run.trigger.author_kind in {"api-key", "api-user"}

deny contains {"code": "destroy-by-machines", "message": "destroy by a pipeline with an API key"} if {
	destroys
	not by_a_machine
}

weekday := time.weekday([input.token.issued_at * 1000000000, "Europe/Berlin"])

deny contains {"code": "destroy-on-weekdays", "message": "destroy from Monday to Friday, in Berlin"} if {
	destroys
	weekday in {"Saturday", "Sunday"}
}

deny contains {"code": "opentofu-too-old", "message": "let the definition ask for OpenTofu 1.8 or later"} if {
	input.run.definition.implementation == "terraform"
	not is_current
}

# Arrays are compared number by number. What is no version is undefined, and not current.
is_current if {
	version := trim_prefix(input.run.facts["opentofu-version"], "v")
	regex.match(`^(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){1,2}$`, version)
	numbers := [to_number(number) | some number in split(version, ".")]
	numbers >= [1, 8]
}
