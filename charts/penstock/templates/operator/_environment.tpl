{{/* The operator's settings. What is left out has the program's own default. */}}
{{- define "penstock.operatorEnvironment" -}}
- name: PENSTOCK_OPERATOR_LOG_LEVEL
  value: {{ .Values.operator.logLevel }}
{{- end }}
