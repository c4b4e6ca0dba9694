# {{.Name}} for {{.Platform}}, as mage containers:build wrote it.
FROM {{.Builder}} AS builder
FROM {{.Runtime}}
COPY --from=builder /etc/debian_version /etc/debian_version
{{range .Copies -}}
COPY {{.}}
{{end -}}
{{range .Env -}}
ENV {{.}}
{{end -}}
{{with .Epilogue}}
{{.}}
{{- end}}
