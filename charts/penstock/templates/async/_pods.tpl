{{/* What worker, relay, sink and updates have in common: the transformer's image, the broker, mounted secrets. Secrets are read from
files: no value of one stands in an argument, a variable or a rendered manifest. */}}

{{/* Variables of the connection to Kafka. Takes the root. */}}
{{- define "penstock.kafkaEnvironment" -}}
{{- $kafka := .Values.async.kafka -}}
- name: PENSTOCK_TRANSFORMER_KAFKA_BOOTSTRAP
  value: {{ required "async.kafka.bootstrap: the brokers' HOST:PORT[,HOST:PORT...] is needed with async.enabled" $kafka.bootstrap | quote }}
- name: PENSTOCK_TRANSFORMER_KAFKA_SECURITY
  value: {{ $kafka.security }}
# Of its own, whatever the pod's host name is: that one is cut at 63 characters, and then two of a Deployment may share it.
- name: PENSTOCK_TRANSFORMER_KAFKA_INSTANCE
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- if hasPrefix "SASL" $kafka.security }}
{{- $secret := required "async.kafka.existingSecret: a secret with user name and password is needed for SASL" $kafka.existingSecret }}
- name: PENSTOCK_TRANSFORMER_KAFKA_SASL_MECHANISM
  value: {{ $kafka.saslMechanism }}
- name: PENSTOCK_TRANSFORMER_KAFKA_USERNAME
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ $kafka.usernameKey }}}}
- name: PENSTOCK_TRANSFORMER_KAFKA_PASSWORD_FILE
  value: /secrets/kafka/{{ $kafka.passwordKey }}
{{- end }}
{{- if and $kafka.caKey (hasSuffix "SSL" $kafka.security) }}
- name: PENSTOCK_TRANSFORMER_KAFKA_CA_FILE
  value: /secrets/kafka/{{ $kafka.caKey }}
{{- end }}
{{- if and $kafka.certKey (hasSuffix "SSL" $kafka.security) }}
- name: PENSTOCK_TRANSFORMER_KAFKA_CERT_FILE
  value: /secrets/kafka/{{ $kafka.certKey }}
- name: PENSTOCK_TRANSFORMER_KAFKA_KEY_FILE
  value: /secrets/kafka/{{ $kafka.keyKey }}
{{- end }}
{{- end }}

{{/* Variables of topics, for who looks after them. Takes the root. */}}
{{- define "penstock.topicEnvironment" -}}
{{- $topics := .Values.async.kafka.topics -}}
- name: PENSTOCK_TRANSFORMER_KAFKA_CREATE_TOPICS
  value: {{ $topics.create | quote }}
- name: PENSTOCK_TRANSFORMER_KAFKA_PARTITIONS
  value: {{ $topics.partitions | quote }}
- name: PENSTOCK_TRANSFORMER_KAFKA_REPLICATION
  value: {{ $topics.replication | quote }}
- name: PENSTOCK_TRANSFORMER_KAFKA_MIN_INSYNC
  value: {{ $topics.minInsync | quote }}
{{- end }}

{{- define "penstock.databaseEnvironment" -}}
- name: PENSTOCK_TRANSFORMER_DATABASE_FILE
  value: /secrets/database/{{ .Values.async.database.key }}
{{- end }}

{{/* Variables of the object store; the credentials have the names that every S3 client reads. */}}
{{- define "penstock.objectsEnvironment" -}}
{{- with .Values.async.objects }}
{{- if .url }}
- name: PENSTOCK_TRANSFORMER_OBJECTS
  value: {{ .url | quote }}
{{- with .region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .endpoint }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- if .allowHttp }}
- name: AWS_ALLOW_HTTP
  value: "true"
{{- end }}
{{- if .existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .accessKeyIdKey }}}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .secretAccessKeyKey }}}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether there is anything of the broker's secret to mount. */}}
{{- define "penstock.kafkaSecret" -}}
{{- if ne .Values.async.kafka.security "PLAINTEXT" }}{{ .Values.async.kafka.existingSecret }}{{ end }}
{{- end }}

{{/* Volumes, and where they are mounted. Takes a list: root, database's secret or "", feature store's secret or "". */}}
{{- define "penstock.asyncMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "penstock.kafkaSecret" (index . 0) }}
- {name: kafka, mountPath: /secrets/kafka, readOnly: true}
{{- end }}
{{- if index . 1 }}
- {name: database, mountPath: /secrets/database, readOnly: true}
{{- end }}
{{- if index . 2 }}
- {name: feature-store, mountPath: /secrets/feature-store, readOnly: true}
{{- end }}
{{- end }}

{{- define "penstock.asyncVolumes" -}}
- {name: tmp, emptyDir: {}}
{{- with include "penstock.kafkaSecret" (index . 0) }}
- {name: kafka, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- with index . 1 }}
- {name: database, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- with index . 2 }}
- {name: feature-store, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- end }}

{{/* The rest of a container of the transformer's image. Takes the root. */}}
{{- define "penstock.asyncContainer" -}}
image: {{ include "penstock.image" (list . "transformer") | quote }}
{{ include "penstock.containerAndPorts" . }}
{{- end }}

{{/* The same but for the image. Takes the root. */}}
{{- define "penstock.containerAndPorts" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
ports:
  - {name: http, containerPort: 8080, protocol: TCP}
  - {name: admin, containerPort: 9090, protocol: TCP}
startupProbe: {httpGet: {path: /healthz, port: admin}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 120}
readinessProbe: {httpGet: {path: /readyz, port: admin}, periodSeconds: 5, timeoutSeconds: 2}
livenessProbe: {httpGet: {path: /healthz, port: admin}, periodSeconds: 10, timeoutSeconds: 10, failureThreshold: 6}
securityContext: {{- include "penstock.containerSecurity" . | nindent 2 }}
{{- end }}
