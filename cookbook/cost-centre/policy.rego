# Adds the cost centre of the owning workspace (data.json) to the token, and denies when it has none. It does not say
# who may have a token, so it restricts.
package countersign

owner := input.run.building_block.workspace

# The workspace that owns the building block pays, not the one that owns the definition. A claim is a string: a number
# would be a fault, so anything but a non-empty string counts as no cost centre.
centre := found if {
	found := data.cost_centres[owner]
	is_string(found)
	found != ""
}

restrict := {"claims": {"cost-centre": centre}}

deny contains {"code": "no-cost-centre", "message": message} if {
	not centre
	message := sprintf("ask controlling for a cost centre of workspace `%s`", [owner])
}
