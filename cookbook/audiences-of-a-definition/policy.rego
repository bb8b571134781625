# Keeps the audiences that a definition needs (data.json): no token of it for another cloud.
package countersign

needed := data.audiences[input.run.definition.id]

# Whole audiences, in the order that they were asked for. What was not asked for cannot be added.
kept := [audience |
	some audience in input.token.audiences
	audience in needed
]

permit := {"audiences": kept} if count(kept) > 0

# Left alone, a definition that was forgotten would keep all audiences.
deny contains {"code": "definition-not-listed", "message": message} if {
	not needed
	message := sprintf("no audiences are listed for definition `%s`", [input.run.definition.id])
}

deny contains {"code": "no-audience-left", "message": message} if {
	needed
	count(kept) == 0
	message := sprintf("definition `%s` is for %s", [input.run.definition.id, concat(", ", needed)])
}
