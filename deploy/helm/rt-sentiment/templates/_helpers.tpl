{{/* The labels of an object. Takes the values of the chart ("root"), and "name", which is "sentiment" or that of a part. */}}
{{- define "sentiment.labels" -}}
{{ include "sentiment.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "sentiment.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "sentiment.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default (print $.Chart.AppVersion .suffix) }}{{ end }}
{{- end -}}
{{- end }}

{{/* A value as text. YAML gives numbers as floats, which would be written as 2.147483648e+09. */}}
{{- define "sentiment.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end }}

{{/* The environment that the service and the workers have in common: they must agree. It is in the pod template, so that a
changed setting causes a rollout, and a rollback restores the old settings. */}}
{{- define "sentiment.environment" -}}
{{- $settings := dict -}}
{{- if .Values.jobs.enabled -}}
{{- $settings = dict "SENTIMENT_JOB_STORE" "/var/lib/rt-sentiment/jobs" "SENTIMENT_WORKER_PORT" "8001" -}}
{{- end -}}
{{- if .Values.models.enabled -}}
{{- $_ := set $settings "SENTIMENT_MODELS_FILE" "/etc/rt-sentiment-models/models.yaml" -}}
{{- $_ := set $settings "SENTIMENT_MODELS_CACHE" "/var/cache/rt-sentiment" -}}
{{- $_ := set $settings "SENTIMENT_MODELS_CACHE_BYTES" .Values.models.cache.bytes -}}
{{- end -}}
{{- range $name, $value := mergeOverwrite $settings .Values.settings }}
- name: {{ $name }}
  value: {{ include "sentiment.text" $value | quote }}
{{- end }}
{{- if .Values.jobs.enabled }}
- name: SENTIMENT_REDIS_URL
  {{- if .Values.jobs.redis.enabled }}
  value: redis://{{ .Release.Name }}-redis:6379/0
- name: SENTIMENT_REDIS_PASSWORD_FILE
  value: /etc/rt-sentiment-redis/redis-password
  {{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.jobs.secretName }}
      key: redis-url
  {{- end }}
{{- end }}
{{- end }}

{{- define "sentiment.envFrom" -}}
# Optional. Its values become environment variables, such as HF_TOKEN for a private model.
- secretRef:
    name: {{ .Values.secretName }}
    optional: true
{{- end }}

{{/* The volumes that the service and the workers have in common, and where they are mounted. */}}
{{- define "sentiment.volumes" -}}
{{- if .Values.hub.enabled }}
- name: hub
  emptyDir:
    sizeLimit: {{ .Values.hub.sizeLimit }}
{{- end }}
{{- if .Values.models.enabled }}
- name: models
  {{- if .Values.models.claimName }}
  persistentVolumeClaim:
    claimName: {{ .Values.models.claimName }}
    readOnly: true
  {{- else }}
  configMap:
    name: {{ .Values.models.configMap | default (print .Release.Name "-models") }}
  {{- end }}
- name: models-cache
  {{- if .Values.models.cache.claimName }}
  persistentVolumeClaim:
    claimName: {{ .Values.models.cache.claimName }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.models.cache.sizeLimit }}
  {{- end }}
{{- end }}
{{- if include "sentiment.hasStore" . }}
- name: jobs
  persistentVolumeClaim:
    claimName: {{ .Values.jobs.store.claimName | default (print .Release.Name "-jobs") }}
{{- end }}
{{- if and .Values.jobs.enabled .Values.jobs.redis.enabled }}
- name: redis-password
  secret:
    secretName: {{ .Values.jobs.secretName }}
    items: [{key: redis-password, path: redis-password}]
    defaultMode: 0440 # readable by the group of the pod
{{- end }}
{{- if .Values.temporarySize }}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.temporarySize }}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sentiment.volumeMounts" -}}
{{- if .Values.hub.enabled }}
# The HF_HOME of the image.
- name: hub
  mountPath: /tmp/huggingface
{{- end }}
{{- if .Values.models.enabled }}
# A folder, because a single file mounted with subPath is never updated.
- name: models
  mountPath: /etc/rt-sentiment-models
  readOnly: true
- name: models-cache
  mountPath: /var/cache/rt-sentiment
{{- end }}
{{- if include "sentiment.hasStore" . }}
- name: jobs
  mountPath: /var/lib/rt-sentiment
{{- end }}
{{- if and .Values.jobs.enabled .Values.jobs.redis.enabled }}
- name: redis-password
  mountPath: /etc/rt-sentiment-redis
  readOnly: true
{{- end }}
{{- if .Values.temporarySize }}
- name: tmp
  mountPath: /tmp
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sentiment.hasStore" -}}
{{- if and .Values.jobs.enabled (not (contains "://" (toString .Values.settings.SENTIMENT_JOB_STORE))) }}true{{ end -}}
{{- end }}

{{/* What the pods of the service and of the workers have in common. */}}
{{- define "sentiment.pod" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
# For a Service named sentiment, Kubernetes would set SENTIMENT_PORT=tcp://…, which is not a port number.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  {{- if or .Values.jobs.enabled (and .Values.models.enabled .Values.models.cache.claimName) }}
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "sentiment.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "sentiment.resources" -}}
requests: {{- toYaml (.requests | default .limits) | nindent 2 }}
limits: {{- toYaml .limits | nindent 2 }}
{{- end }}

{{/* Seconds from the removal of a replica to its end: preStop, the two parts of the drain, 2 s to send the last responses, and
a margin. The defaults are those of the profile `prod`. */}}
{{- define "sentiment.graceSeconds" -}}
{{- $delay := .Values.settings.SENTIMENT_DRAIN_DELAY_MS | default 5000 | float64 -}}
{{- $drain := .Values.settings.SENTIMENT_DRAIN_TIMEOUT_MS | default 20000 | float64 -}}
{{- add .Values.preStopSeconds (divf (addf $delay $drain) 1000 | ceil | int64) 2 8 -}}
{{- end }}

{{/* Seconds that a request may take. The default is that of the service. */}}
{{- define "sentiment.requestSeconds" -}}
{{- divf (.Values.settings.SENTIMENT_REQUEST_TIMEOUT_MS | default 10000 | float64) 1000 | ceil | int64 -}}
{{- end }}

{{/* A number of bytes, rounded up, in the units of nginx. */}}
{{- define "sentiment.mebibytes" -}}
{{- $mebibytes := divf (float64 .) 1048576 | ceil | int64 -}}
{{- if mod $mebibytes 1024 }}{{ $mebibytes }}m{{ else }}{{ div $mebibytes 1024 }}g{{ end -}}
{{- end }}

{{/* The rules for connections that the pods open, beside those to Redis. */}}
{{- define "sentiment.egress" -}}
{{- $jwks := toString .Values.settings.SENTIMENT_JWT_JWKS -}}
{{- if or .Values.networkPolicy.https .Values.hub.enabled (hasPrefix "https:" $jwks) }}
{{ include "sentiment.dns" . }}
# The hub, buckets and identity providers have no fixed addresses, so every address except private networks is allowed.
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16]
    - ipBlock:
        cidr: ::/0
        except: [fc00::/7, fe80::/10]
  ports:
    - {port: 443, protocol: TCP}
{{- end }}
{{- with .Values.networkPolicy.egress }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sentiment.dns" -}}
# The DNS of the cluster.
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- define "sentiment.fromPrometheus" -}}
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Values.prometheus.namespace }}
      podSelector:
        matchLabels:
          app.kubernetes.io/name: prometheus
{{- end }}

{{/* The routes that are public, without those of streams and jobs, whose limits differ. Not /metrics, which describes a single
replica. */}}
{{- define "sentiment.paths" -}}
- {path: /predict, pathType: Prefix}
- {path: /feedback, pathType: Exact}
- {path: /models, pathType: Prefix}
- {path: /v2, pathType: Prefix}
- {path: /info, pathType: Exact}
- {path: /livez, pathType: Exact}
- {path: /readyz, pathType: Exact}
- {path: /healthz, pathType: Exact}
- {path: /openapi.json, pathType: Exact}
- {path: /docs, pathType: Prefix}
- {path: /static-offline-docs, pathType: Prefix}
- {path: /page, pathType: Prefix}
- {path: /, pathType: Exact}
{{- end }}
