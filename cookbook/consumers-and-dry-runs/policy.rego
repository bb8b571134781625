# Permits the definition workspace and the workspaces on the definition's list (data.json). A dry run changes nothing,
# so its token lives at most 15 minutes.
package countersign

owner := input.run.building_block.workspace

may if owner == input.run.definition.workspace

# Compared whole: `startswith(owner, "team-network")` would also match `team-network-guests`.
may if owner in data.consumers[input.run.definition.id]

# The conditions exclude each other: a rule with two different values is a fault.
permit := {"max_ttl": 900} if {
	may
	input.run.behavior == "detect"
}

permit := {} if {
	may
	input.run.behavior in {"apply", "destroy"}
}

deny contains {"code": "workspace-not-listed", "message": message} if {
	not may
	message := sprintf("ask workspace `%s` to put workspace `%s` on the list", [input.run.definition.workspace, owner])
}
