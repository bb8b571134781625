# Permits the definition workspace itself, and the workspaces on its list (data.json).
#
# `input.run` and `input.token` have the claims, in the contract's words and not the run object's ("apply", not "APPLY"):
#   input.run.behavior                   "apply", "detect" (a dry run), "destroy"
#   input.run.definition.implementation  "manual", "terraform", "github-workflow", "gitlab-cicd", "azure-devops", "other"
#   input.run.trigger.author_kind        "user", "api-key", "api-user", "system", "other"
# Absent, that is undefined: input.run.trigger of a run that nobody triggered, input.run.trigger.reason, input.run.runner,
# input.run.building_block.project and input.run.building_block.platform. input.run.facts.name is a text or undefined.
package countersign

owner := input.run.building_block.workspace

# It says who may have a token, so it permits. A policy that only limits tokens has a rule `restrict` instead:
# restrict := {"max_ttl": 900} if input.run.behavior == "detect"
permit if owner == input.run.definition.workspace

permit if owner in data.also

deny contains {"code": "not-listed", "message": message} if {
	not permit
	message := sprintf("ask the platform team to put workspace `%s` on the list", [owner])
}
