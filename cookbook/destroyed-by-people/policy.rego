# Denies destroying unless a person triggered the run, and abstains from every other run.
package countersign

# Undefined when the run does not say who triggered it, so `not by_a_person` is true. The negated comparison,
# `input.run.trigger.author_kind != "user"`, would be undefined as well, and deny nothing.
by_a_person if input.run.trigger.author_kind == "user"

deny contains {"code": "destroyed-by-machine", "message": message} if {
	input.run.behavior == "destroy"
	not by_a_person
	input.run.trigger
	message := sprintf("`%s` is not a person, and only a person may destroy", [input.run.trigger.author])
}

deny contains {"code": "author-not-known", "message": message} if {
	input.run.behavior == "destroy"
	not input.run.trigger
	message := "only a person may destroy, and the run does not say who triggered it"
}
