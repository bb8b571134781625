# Meant to be: a listed workspace gets 15 minutes for a dry run, and no other token. It forgets to look at
# the behavior, so whoever may check may destroy as well.
package countersign

owner := input.run.building_block.workspace

permit := {"max_ttl": 900} if owner in data.may_check

deny contains {"code": "not-listed", "message": message} if {
	not owner in data.may_check
	message := sprintf("workspace `%s` may not check", [owner])
}
