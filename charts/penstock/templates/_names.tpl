{{/* What several templates say alike: names, labels, images, security. */}}

{{- define "penstock.labels" -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Labels that select a part's pods; they never change, since a Deployment's selector cannot. Takes a list: root, part. */}}
{{- define "penstock.selector" -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image of ours. Takes a list: root, name. */}}
{{- define "penstock.image" -}}
{{- $root := index . 0 -}}
{{- $root.Values.image.repository }}/{{ index . 1 }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- if and $root.Values.transformer.feast (eq (index . 1) "transformer") }}-feast{{ end }}
{{- end }}

{{- define "penstock.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Of a pod. fsGroup: mounted secrets are readable for the one user that the images have, and for nobody else. */}}
{{- define "penstock.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Of a container; whole in itself, for runtimes, where the pod is KServe's. No group: a bundle in an image (oci://) is read through
/proc of that image's container, which the kernel allows to the same user and group only, and KServe sets the user of both, no group. */}}
{{- define "penstock.containerSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
privileged: false
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Where pods of a part may run. Takes the part's values. */}}
{{- define "penstock.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Replicas of a part on different nodes where there are such. Takes a list: root, part, further labels that tell them apart. */}}
{{- define "penstock.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "penstock.selector" . | nindent 8 }}
        {{- range $name, $value := (index . 2) }}
        {{ $name }}: {{ $value }}
        {{- end }}
{{- end }}

{{/* The namespace of a model. Takes a list: root, model. */}}
{{- define "penstock.modelNamespace" -}}
{{- (index . 1).namespace | default (index . 0).Release.Namespace }}
{{- end }}

{{/* The pods that route a model's requests: whatever of its InferenceService is no predictor of ours. By what they are not, since
KServe calls a transformer that the operator runs alone a predictor. Takes the model's name. */}}
{{- define "penstock.transformerSelector" -}}
matchLabels: {serving.kserve.io/inferenceservice: {{ . }}}
matchExpressions: [{key: penstock.dev/component, operator: NotIn, values: [predictor]}]
{{- end }}

{{/* Namespaces whose transformers get a service account: those asked for, and those of the models. A list, as JSON. */}}
{{- define "penstock.transformerNamespaces" -}}
{{- $found := .Values.transformer.namespaces }}
{{- range .Values.models }}
{{- $found = append $found (include "penstock.modelNamespace" (list $ .)) }}
{{- end }}
{{- $found | uniq | sortAlpha | toJson }}
{{- end }}

{{/* Namespaces whose predictors are closed to all but transformers, and where there are pods of queues. A list, as JSON. */}}
{{- define "penstock.guardedNamespaces" -}}
{{- $found := .Values.networkPolicy.namespaces }}
{{- if or .Values.async.enabled .Values.feedback.sink.enabled .Values.feedback.retrainTrigger.enabled }}
{{- $found = append $found .Release.Namespace }}
{{- end }}
{{- range .Values.models }}
{{- $found = append $found (include "penstock.modelNamespace" (list $ .)) }}
{{- end }}
{{- $found | uniq | sortAlpha | toJson }}
{{- end }}

{{/* One part's values over the default ones, as JSON; sprig's merges would not let false or 0 through. Takes a list: default, over. */}}
{{- define "penstock.overlay" -}}
{{- $base := deepCopy (index . 0) }}
{{- range $key, $value := index . 1 }}
{{- $below := get $base $key }}
{{- if and (kindIs "map" $value) (kindIs "map" $below) (ne $key "limits") (ne $key "requests") }}
{{- $_ := set $base $key (include "penstock.overlay" (list $below $value) | fromJson) }}
{{- else }}
{{- $_ := set $base $key $value }}
{{- end }}
{{- end }}
{{- $base | toJson }}
{{- end }}
