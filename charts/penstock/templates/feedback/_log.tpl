{{/* Variables of a model's prediction log. Takes its values. */}}
{{- define "penstock.logEnvironment" -}}
{{- if .rate }}
- name: PENSTOCK_TRANSFORMER_LOG_RATE
  value: {{ .rate | quote }}
- name: PENSTOCK_TRANSFORMER_LOG_RARITY
  value: {{ .rarity | quote }}
{{- if .existingClaim }}
- name: PENSTOCK_TRANSFORMER_LOG_DIR
  value: /var/lib/penstock/log
- name: PENSTOCK_TRANSFORMER_LOG_KEEP
  value: {{ .keep | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The host of the log sink's Service. */}}
{{- define "penstock.logSinkHost" -}}
penstock-log-sink.{{ .Release.Namespace }}.svc
{{- end }}
