{{/* The operator's settings. What is left out has the program's own default. */}}
{{- define "penstock.operatorEnvironment" -}}
- name: PENSTOCK_OPERATOR_LOG_LEVEL
  value: {{ .Values.operator.logLevel }}
- name: PENSTOCK_OPERATOR_NAMESPACES
  value: {{ join "," .Values.operator.namespaces | quote }}
- name: PENSTOCK_OPERATOR_PREDICTOR_IMAGE
  value: {{ include "penstock.image" (list . "predictor") | quote }}
- name: PENSTOCK_OPERATOR_PREDICTOR_GPU_IMAGE
  value: {{ include "penstock.image" (list . "predictor-gpu") | quote }}
- name: PENSTOCK_OPERATOR_TRANSFORMER_IMAGE
  value: {{ include "penstock.image" (list . "transformer") | quote }}
- name: PENSTOCK_OPERATOR_TRANSFORMER_SETTINGS
  value: {{ .Values.transformer.settings | quote }}
- name: PENSTOCK_OPERATOR_IMAGE_PULL_POLICY
  value: {{ .Values.image.pullPolicy }}
{{- if .Values.feedback.sink.enabled }}
# Rollouts by evidence ask it what turned out to be true of predictions.
- name: PENSTOCK_OPERATOR_LOG_SINKS
  value: http://{{ include "penstock.logSinkHost" . }}:9090
{{- end }}
{{- with dig "limits" "memory" "" .Values.predictor.cpu.resources }}
# A bundle is verified with the memory that its pods will have.
- name: PENSTOCK_OPERATOR_PREDICTOR_MEMORY
  value: {{ . | quote }}
{{- end }}
{{- end }}
