package countersign

owner := input.run.building_block.workspace

definition := input.run.definition

permit := {"max_ttl": min(lives), "audiences": kept, "claims": claims} if count(lives) > 0

claims := {"team": sprintf("%s/%s", [owner, definition.implementation])} if input.run.runner

claims := {} if not input.run.runner

lives contains input.token.ttl_seconds if owner == definition.workspace

lives contains data.also_max_ttl if {
	owner != definition.workspace
	data.also[owner]
}

# Neither the owner nor anybody on the list: whether they may is left to another policy.
restrict := {"max_ttl": 1200, "audiences": kept} if {
	startswith(owner, "abstain")
	input.run.behavior == "detect"
}

# Beside a permit: an error, which is neither.
restrict := true if {
	owner == definition.workspace
	input.run.number % 89 == 0
}

kept contains audience if {
	some audience in input.token.audiences
	not startswith(audience, "https://")
}

deny contains {"code": "foreign-workspace", "message": message} if {
	owner != definition.workspace
	not data.also[owner]
	not startswith(owner, "abstain")
	message := sprintf("workspace `%s` may not use definitions of workspace `%s`", [owner, definition.workspace])
}

deny contains {"code": "ttl-above-ceiling", "message": message} if {
	ceiling := data.ceilings[input.run.behavior]
	input.token.ttl_seconds > ceiling
	message := sprintf("%d seconds requested, but at most %d", [input.token.ttl_seconds, ceiling])
}

deny contains {"code": "author-not-known", "message": "the run does not say who triggered it"} if {
	data.triggers[input.run.behavior]
	not input.run.trigger
}

deny contains {"code": "author-not-allowed", "message": message} if {
	data.triggers[input.run.behavior]
	kind := input.run.trigger.author_kind
	not data.triggers[input.run.behavior][kind]
	message := sprintf("%s may not trigger it", [kind])
}

deny contains {"code": "by-plan", "message": "not by plan"} if {
	contains(input.run.trigger.reason, "\\ of")
	definition.implementation == "manual"
}

deny contains {"code": "too-many-parents", "message": "at most two"} if count(input.run.building_block.parents) > 2

# Two values for one rule: an error, which is no denial and no permit.
broken := input.run.number if input.run.number % 97 == 0

broken := input.run.definition.version if input.run.number % 97 == 0

deny contains {"code": "broken", "message": "never"} if broken == -1
