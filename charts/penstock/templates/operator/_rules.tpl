{{/* What the operator may do in the namespaces that it serves. Each rule says what for; tests/unit/chart/rights.yaml lists them
again, verb by verb, so that none is added unnoticed. */}}
{{- define "penstock.operatorRules" -}}
# What users ask for, and what it answers: finalizers on the resource itself, the rest in its status.
- apiGroups: [penstock.dev]
  resources: [modelversions]
  verbs: [get, list, watch, patch]
- apiGroups: [penstock.dev]
  resources: [modelversions/status]
  verbs: [patch]
# To own an InferenceService or a Job in a way that holds the ModelVersion's deletion back.
- apiGroups: [penstock.dev]
  resources: [modelversions/finalizers]
  verbs: [update]
# One predictor-only InferenceService a version; the user's own are read, never changed.
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices]
  verbs: [get, list, watch, create, patch, delete]
# The verification of a bundle.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
{{- if include "penstock.operatorScales" . }}
# Autoscalers of what it runs, which KServe then makes none for.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch, create, patch, delete]
{{- end }}
# Routes. RBAC knows no prefixes, so it is every ConfigMap of these namespaces.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Transformers' pods are asked what they apply; a verification's result is its pod's termination message.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# A silent transformer, one at a time, and never past a disruption budget.
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
