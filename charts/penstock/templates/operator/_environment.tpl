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
{{- with .Values.image.pullSecrets }}
- name: PENSTOCK_OPERATOR_IMAGE_PULL_SECRETS
  value: {{ join "," . | quote }}
{{- end }}
{{- if .Values.feedback.sink.enabled }}
# Rollouts by evidence ask it what turned out to be true of predictions.
- name: PENSTOCK_OPERATOR_LOG_SINKS
  value: http://{{ include "penstock.logSinkHost" . }}:9090
{{- end }}
{{- $scaling := .Values.operator.autoscaling | default dict }}
{{- if include "penstock.operatorScales" . }}
- name: PENSTOCK_OPERATOR_SCALE_DOWN_S
  value: {{ dig "scaleDownAfterSeconds" 300 $scaling | int | quote }}
{{- end }}
{{- with dig "predictor" "inFlight" 0 $scaling }}
- name: PENSTOCK_OPERATOR_PREDICTOR_IN_FLIGHT
  value: {{ int . | quote }}
{{- end }}
{{- with dig "transformer" dict $scaling }}
{{- if .inFlight }}
- name: PENSTOCK_OPERATOR_TRANSFORMER_IN_FLIGHT
  value: {{ int .inFlight | quote }}
- name: PENSTOCK_OPERATOR_TRANSFORMER_REPLICAS
  value: {{ .minReplicas | default 2 | int | quote }}
- name: PENSTOCK_OPERATOR_TRANSFORMER_MOST
  value: {{ .maxReplicas | default 10 | int | quote }}
{{- end }}
{{- end }}
# A bundle is verified with what its pods will have, where they may run.
- name: PENSTOCK_OPERATOR_PREDICTOR_POD
  value: {{ include "penstock.runtimePod" .Values.predictor.cpu }}
- name: PENSTOCK_OPERATOR_PREDICTOR_GPU_POD
  value: {{ include "penstock.runtimePod" .Values.predictor.gpu }}
{{- end }}

{{/* Something if the operator makes autoscalers. */}}
{{- define "penstock.operatorScales" -}}
{{- $scaling := .Values.operator.autoscaling | default dict }}
{{- if or (dig "predictor" "inFlight" 0 $scaling) (dig "transformer" "inFlight" 0 $scaling) }}yes{{ end }}
{{- end }}

{{/* What a runtime gives its pods, as JSON in quotes. Takes a device's values. */}}
{{- define "penstock.runtimePod" -}}
{{- pick . "resources" "nodeSelector" "tolerations" "affinity" | toJson | quote }}
{{- end }}
