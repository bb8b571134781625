# Denies to destroy, unless a person triggered the run; it has nothing to say about any other run.
package countersign

# Undefined where the run does not say who triggered it, so that `not` holds. The other way round,
# `input.run.trigger.author_kind != "user"` would be undefined as well, and deny nothing.
by_a_person if input.run.trigger.author_kind == "user"

deny contains {"code": "destroyed-by-machine", "message": message} if {
	input.run.behavior == "destroy"
	not by_a_person
	input.run.trigger
	message := sprintf("`%s` is no person, and only a person may destroy", [input.run.trigger.author])
}

deny contains {"code": "author-not-known", "message": message} if {
	input.run.behavior == "destroy"
	not input.run.trigger
	message := "only a person may destroy, and the run does not say who triggered it"
}
