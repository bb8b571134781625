{{- define "countersign.selector" -}}
app.kubernetes.io/name: countersign
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "countersign.common" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "countersign.labels" -}}
{{ include "countersign.selector" . }}
{{ include "countersign.common" . }}
{{- end }}

{{/* Of the migration, which no service or budget selects. */}}
{{- define "countersign.migrationSelector" -}}
app.kubernetes.io/name: countersign-migration
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* At most 52 bytes: the controller adds a hash to a label of 63, and a service has a longer name. */}}
{{- define "countersign.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}-countersign
{{- end }}

{{- define "countersign.image" -}}
{{ printf "%s@%s" .Values.image.repository .Values.image.digest | quote }}
{{- end }}

{{- define "countersign.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "countersign.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
{{- end }}

{{/* The line of `issuer` that names the database; nothing where there is none. */}}
{{- define "countersign.store" -}}
{{ regexFind "(?m)^[ \\t]*store[ \\t]*=.*$" .Values.issuer }}
{{- end }}

{{/* Egress to the database whose URL is in a text, at its port: PostgreSQL's unless given. */}}
{{- define "countersign.databaseEgress" -}}
- ports:
    - port: {{ regexFind ":[0-9]+/" .url | trimPrefix ":" | trimSuffix "/" | default "5432" }}
      protocol: TCP
  {{- with .to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
