# The definition workspace may use its definition, and so may the workspaces on the definition's list
# (data.json). A dry run changes nothing, so its token lives 15 minutes.
package countersign

owner := input.run.building_block.workspace

may if owner == input.run.definition.workspace

# Whole identifiers: `startswith(owner, "team-network")` would also let `team-network-guests` in.
may if owner in data.consumers[input.run.definition.id]

# One rule for each grant, and no two that hold at once: a rule with two values is a fault.
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
