package arrows

// arrows is who may import whom within this module, tests aside. A package that is not named may
// import none, so a new arrow is a new word here, and worth a thought. A "/..." at the end stands
// for a folder and all below it.
var arrows = map[string][]string{
	".":                 {"internal/parentdeath"},
	"cmd/spacktainers":  {"magefiles/targets"},
	"magefiles":         {"magefiles/bare", "magefiles/targets"},
	"magefiles/bare":    {"magefiles/targets"},
	"magefiles/targets": {"internal/...", "buildcache/...", "janitor/...", "builder", "runtime", "singularitah", "sites"},

	"builder":      {}, // these embed their folder
	"runtime":      {},
	"singularitah": {},
	"sites":        {},

	"internal/abstract":           {"buildcache"},
	"internal/definition":         {"buildcache", "internal/abstract", "internal/suggest", "internal/yamlstrict"},
	"internal/command":            {"internal/quote"},
	"internal/container":          {"buildcache", "internal/definition", "internal/image"},
	"internal/podman":             {"buildcache", "internal/command", "internal/container", "internal/gateway", "internal/git", "internal/image", "internal/atomicfile", "internal/ctxio", "internal/filelock", "internal/views"},
	"internal/assemble":           {"buildcache", "internal/container", "internal/image", "internal/quote", "internal/views"},
	"internal/views":              {"buildcache", "internal/abstract"},
	"internal/registry":           {"internal/image", "internal/publish/branch", "internal/ctxio"},
	"internal/release":            {"internal/atomicfile", "internal/command", "internal/image"},
	"internal/attest":             {"buildcache", "internal/image", "internal/registry"},
	"internal/rebuild":            {"buildcache", "internal/image"},
	"internal/whymiss":            {"buildcache", "buildcache/index", "internal/abstract"},
	"internal/inspect":            {"buildcache", "internal/attest", "internal/image", "internal/registry"},
	"internal/publish":            {"internal/attest", "internal/image", "internal/registry", "internal/publish/branch"},
	"internal/sif":                {"internal/command", "internal/definition", "internal/image", "internal/publish/branch", "internal/quote", "internal/atomicfile"},
	"internal/sifstore":           {"buildcache", "internal/publish/branch", "internal/sif", "internal/slurm", "internal/suggest", "internal/ctxio", "internal/filelock"},
	"internal/slurm":              {"internal/quote", "internal/suggest", "internal/yamlstrict"},
	"internal/quote":              {},
	"internal/atomicfile":         {},
	"internal/filelock":           {},
	"internal/ctxio":              {},
	"internal/pipeline":           {"buildcache", "internal/inspect", "internal/quote"},
	"internal/page":               {},
	"internal/scaffold":           {"internal/suggest"},
	"internal/ui":                 {},
	"internal/doctor":             {"internal/command"},
	"internal/suite":              {"internal/command"},
	"internal/yamlstrict":         {"internal/suggest"},
	"internal/image":              {"internal/filelock"}, // the image layout and its record, in which the steps meet
	"internal/suggest":            {},
	"internal/git":                {},
	"internal/gateway":            {"buildcache", "buildcache/push", "internal/command"},
	"internal/pipeline/gitlabapi": {},

	"internal/publish/branch": {},

	"internal/parentdeath": {},

	"internal/testing/size":                        {},
	"internal/testing/terminal":                    {},
	"internal/testing/tooltest":                    {},
	"internal/testing/faultproxy":                  {},
	"internal/testing/s3test":                      {"internal/testing/size", "internal/testing/tooltest"},
	"internal/testing/registrytest":                {"internal/testing/size", "internal/testing/tooltest"},
	"internal/testing/torture":                     {"buildcache"}, // the interfaces of a store alone
	"internal/testing/s3test/storetest":            {"buildcache"},
	"internal/testing/s3test/cmd/s3servers":        {"internal/testing/s3test"},
	"internal/testing/chromiumtest":                {"internal/testing/size", "internal/testing/tooltest"},
	"internal/testing/apptainertest":               {"internal/testing/size", "internal/testing/tooltest"},
	"internal/testing/apptainertest/cmd/apptainer": {"internal/testing/apptainertest"},

	"buildcache":                 {},
	"buildcache/file":            {"buildcache", "internal/ctxio", "internal/filelock"},
	"buildcache/s3":              {"buildcache", "internal/ctxio"},
	"buildcache/index":           {"buildcache"},
	"buildcache/push":            {"buildcache"},
	"buildcache/inventory":       {"buildcache", "internal/atomicfile"},
	"internal/testing/reallocks": {"buildcache"},
	"internal/testing/synth":     {"buildcache"}, // tests and measurements only
	"janitor":                    {"buildcache", "buildcache/index", "janitor/clock", "janitor/dag", "janitor/lease", "janitor/listing", "janitor/retain", "janitor/room", "janitor/rootset", "janitor/scan"},
	"janitor/scan":               {"buildcache", "buildcache/index", "janitor/dag", "janitor/listing", "janitor/rootset"},
	"janitor/room":               {"buildcache", "buildcache/index", "janitor/clock", "janitor/dag", "janitor/listing", "janitor/scan"},
	"janitor/rootset":            {"buildcache", "buildcache/index"},
	"janitor/lease":              {"buildcache", "internal/ctxio", "janitor/clock"},
	"janitor/clock":              {},
	"janitor/listing":            {"buildcache"},
	"janitor/dag":                {"buildcache", "buildcache/index"},
	"janitor/simulate":           {"buildcache", "janitor", "janitor/history", "janitor/retain", "janitor/rootset"},
	"janitor/retain":             {},
	"buildcache/buildtime":       {"buildcache", "internal/atomicfile"},
	"janitor/history":            {"buildcache"},
	"bench/janitor":              {"buildcache/...", "janitor", "janitor/rootset", "janitor/scan", "internal/testing/..."},
}

// A ban keeps imports from outside this module out of packages.
type ban struct {
	imports string   // the import path, and all below it
	from    string   // the folder whose packages may not
	but     []string // packages that may
	why     string
}

var bans = []ban{
	{imports: "os/exec", from: ".", but: []string{"internal/command", "internal/testing/tooltest", "internal/testing/s3test", "internal/testing/registrytest", "internal/testing/apptainertest", "internal/testing/chromiumtest", "internal/testing/terminal", "bench/janitor"}, why: "programs are run by internal/command"},
	{imports: "github.com/google/go-containerregistry/pkg/v1/remote", from: ".", but: []string{"internal/registry"}, why: "registries are spoken with by internal/registry"},
	{imports: "github.com/google/go-containerregistry/pkg/authn", from: ".", but: []string{"internal/registry"}, why: "credentials for registries are found by internal/registry"},
	{imports: "github.com/magefile/mage", from: "buildcache", why: "the build cache knows no mage"},
	{imports: "github.com/magefile/mage", from: "janitor", why: "the janitor knows no mage"},
	{imports: "github.com/aws", from: "janitor", why: "the janitor knows stores only as buildcache shows them"},
	{imports: "github.com/containers", from: "buildcache", why: "the build cache knows no podman"},
	{imports: "github.com/containers", from: "janitor", why: "the janitor knows no podman"},
}

// starters are the packages that hand the targets to who calls them.
var starters = []string{"magefiles", "magefiles/bare", "cmd/spacktainers"}

// readers are the only files that may read environment variables.
var readers = []string{
	"magefiles/targets/config.go",
	"internal/testing/size/size.go", // only tests import these
	"internal/testing/terminal/terminal.go",
	"internal/testing/tooltest/tooltest.go",
	"internal/testing/s3test/server.go",
	"internal/testing/s3test/tool.go",
}

// testOnly are folders of packages that nothing but tests, and each other, may import.
var testOnly = []string{"internal/testing", "bench"}

// vague are package names that say nothing about what is inside.
var vague = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared"}
