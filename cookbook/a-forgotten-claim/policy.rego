# Intended: a listed workspace gets a 15-minute token for a dry run, and no other token. The behavior is never
# checked, so a workspace that may check can also destroy.
package countersign

owner := input.run.building_block.workspace

permit := {"max_ttl": 900} if owner in data.may_check

deny contains {"code": "not-listed", "message": message} if {
	not owner in data.may_check
	message := sprintf("workspace `%s` may not check", [owner])
}
