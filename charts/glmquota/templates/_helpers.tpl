{{/* The release's own prefix; names of cluster-scoped objects carry it too. */}}
{{- define "glmquota.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "glmquota.labels" -}}
app.kubernetes.io/name: {{ include "glmquota.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of one part: call with (list . "controller"). */}}
{{- define "glmquota.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "glmquota.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "glmquota.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "glmquota.sidecarImage" -}}
{{- .Values.sidecar.image | default (include "glmquota.image" .) -}}
{{- end }}

{{- define "glmquota.redisHost" -}}
{{ include "glmquota.name" . }}-redis.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "glmquota.redisUrl" -}}
{{- if .Values.redis.enabled -}}
rediss://{{ include "glmquota.redisHost" . }}:6379
{{- else -}}
{{ required "redis.enabled is false: set externalRedis.url to a rediss:// address" .Values.externalRedis.url }}
{{- end -}}
{{- end }}

{{- define "glmquota.redisSecret" -}}
{{- if .Values.redis.enabled -}}{{ include "glmquota.name" . }}-redis{{- else -}}
{{ required "redis.enabled is false: set externalRedis.secretName" .Values.externalRedis.secretName }}
{{- end -}}
{{- end }}

{{- define "glmquota.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "glmquota.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}
