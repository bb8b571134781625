# Keeps the audiences listed for a definition (data.json). It limits a token and does not say who may have one, so it
# restricts.
package countersign

needed := data.audiences[input.run.definition.id]

# Audiences are compared whole and keep the order of the request. A policy cannot add one that was not requested.
kept := [audience |
	some audience in input.token.audiences
	audience in needed
]

restrict := {"audiences": kept} if count(kept) > 0

# Without this rule, a definition that nobody listed would keep all audiences.
deny contains {"code": "definition-not-listed", "message": message} if {
	not needed
	message := sprintf("no audiences are listed for definition `%s`", [input.run.definition.id])
}

deny contains {"code": "no-audience-left", "message": message} if {
	needed
	count(kept) == 0
	message := sprintf("definition `%s` allows %s", [input.run.definition.id, concat(", ", needed)])
}
