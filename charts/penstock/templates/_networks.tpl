{{/* Parts of network policies. The admin port, 9090, is for the operator and Prometheus alone. */}}

{{- define "penstock.servingPorts" -}}
- {port: 8080, protocol: TCP}
- {port: 8081, protocol: TCP}
{{- end }}

{{- define "penstock.operatorPeer" -}}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}}
  podSelector:
    matchLabels: {{- include "penstock.selector" (list . "operator") | nindent 6 }}
{{- end }}

{{/* Rules for who watches: the operator, and Prometheus wherever the values say that it is. */}}
{{- define "penstock.watchers" -}}
- from:
    {{- include "penstock.operatorPeer" . | nindent 4 }}
  ports: [{port: 8080, protocol: TCP}, {port: 9090, protocol: TCP}]
{{- with .Values.networkPolicy.prometheus }}
- from: {{- toYaml . | nindent 4 }}
  ports: [{port: 9090, protocol: TCP}]
{{- end }}
{{- end }}

{{/* Rules for what callers reach: everybody, or whom the values name. */}}
{{- define "penstock.fromCallers" -}}
- ports: {{- include "penstock.servingPorts" . | nindent 4 }}
  {{- with .Values.networkPolicy.callers }}
  from: {{- toYaml . | nindent 4 }}
  {{- end }}
{{ include "penstock.watchers" . }}
{{- end }}
