{{/* A label of the pods, of up to 63 characters, is this name with the hash of a revision. */}}
{{- define "bunq-exporter.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $default := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $default | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{- define "bunq-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "bunq-exporter.labels" -}}
{{ include "bunq-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The accounts of one shard as config.yml. */}}
{{- define "bunq-exporter.config" -}}
{{- $values := .root.Values -}}
{{- $accounts := list -}}
{{- range $values.accounts -}}
{{- if eq (mod (adler32sum .name | atoi) $values.shards) $.shard -}}
{{- $account := deepCopy . -}}
{{- if not (hasKey . "context_file") -}}
{{- $_ := set $account "context_file" (printf "/var/lib/bunq_exporter/%s.conf" .name) -}}
{{- end -}}
{{- if and (not (hasKey . "api_key_file")) (or $values.existingSecret (hasKey ($values.apiKeys | default dict) .name)) -}}
{{- $_ := set $account "api_key_file" .name -}}
{{- end -}}
{{- $accounts = append $accounts $account -}}
{{- end -}}
{{- end -}}
{{- if not $accounts -}}
{{- fail (printf "shard %d of %d has no account: use fewer shards, or more accounts" .shard (int64 $values.shards)) -}}
{{- end -}}
{{- dict "accounts" $accounts | toYaml -}}
{{- end -}}
