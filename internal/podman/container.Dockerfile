# {{.Name}} for {{.Platform}}, as mage containers:build wrote it.
FROM {{.Builder}} AS builder
FROM {{.Runtime}}
COPY --from=builder /etc/debian_version /etc/debian_version
{{with .Programs -}}
ENV PATH={{.}}:$PATH
{{end -}}
{{range .Copies -}}
COPY {{.}}
{{end -}}
{{range .Env -}}
ENV {{.}}
{{end -}}
{{with .Epilogue}}
{{.}}
{{- end}}
