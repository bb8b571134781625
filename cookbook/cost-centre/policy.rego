# Adds the cost centre of the owning workspace (data.json) to the token, and denies where there is none.
package countersign

owner := input.run.building_block.workspace

# Who pays is who owns the building block, not who offers the definition. A claim is text: a number in
# data.json would be a fault, and `null` or "" no cost centre.
centre := found if {
	found := data.cost_centres[owner]
	is_string(found)
	found != ""
}

permit := {"claims": {"cost-centre": centre}}

deny contains {"code": "no-cost-centre", "message": message} if {
	not centre
	message := sprintf("ask controlling for a cost centre of workspace `%s`", [owner])
}
