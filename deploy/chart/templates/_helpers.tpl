{{- define "countersign.selector" -}}
app.kubernetes.io/name: countersign
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "countersign.labels" -}}
{{ include "countersign.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* At most 52 bytes: the controller adds a hash to a label of 63, and a service has a longer name. */}}
{{- define "countersign.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}-countersign
{{- end }}
