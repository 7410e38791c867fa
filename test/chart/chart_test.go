// Package chart tests the Helm chart. It is not part of package test because Helm takes a minute to compile.
package chart

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/client_golang/prometheus"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"bunq_exporter/internal/app"
	"bunq_exporter/internal/web"
)

const folder = "../../deploy/helm/bunq-exporter/"

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func read(path string) string { return string(must(os.ReadFile(path))) }

var update = flag.Bool("update", false, "rewrite the README of the chart and the golden files")

// compare compares a file with the text that it should be.
func compare(t *testing.T, path, want string) {
	if *update {
		must(0, os.WriteFile(path, []byte(want), 0o600))
	} else if diff := cmp.Diff(read(path), want); diff != "" {
		t.Errorf("run go test ./test/chart -update if this is right; -%s +made now:\n%s", path, diff)
	}
}

// release has the objects by the name of their template, and the text of those that are not from other folders.
type release struct {
	objects map[string]runtime.Object
	text    string
}

// render renders the chart as helm package packs it. Fields that Kubernetes or the operator does not know are errors.
func render(t *testing.T, values chartutil.Values) (r release, err error) {
	chart := must(loader.Load(must(chartutil.Save(must(loader.Load(folder)), t.TempDir()))))
	options := chartutil.ReleaseOptions{Name: "bunq-exporter", Namespace: "monitoring"}
	all, err := chartutil.ToRenderValues(chart, values, options, nil)
	if err != nil {
		return r, err
	}
	texts, err := engine.Render(chart, all)
	must(0, monitoringv1.AddToScheme(scheme.Scheme))
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	r.objects = make(map[string]runtime.Object)
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		text := strings.TrimLeft(texts[path], "\n")
		template, isObject := strings.CutSuffix(filepath.Base(path), ".yaml")
		if isObject && text != "" {
			if r.objects[template], _, err = decoder.Decode([]byte(text), nil, nil); err != nil {
				t.Fatalf("%s: %v\n%s", path, err, text)
			}
		}
		if text != "" && template != "dashboards" && template != "prometheusrule" {
			r.text += "---\n# " + path + "\n" + text
		}
	}
	return r, err
}

func TestChart(t *testing.T) {
	for _, name := range []string{"defaults", "existing-secret", "three-shards", "everything"} {
		t.Run(name, func(t *testing.T) {
			values := must(chartutil.ReadValuesFile("testdata/" + name + ".yaml"))
			if l := lint.All(folder, values, "", true); l.HighestSeverity > support.InfoSev { // which asks for an icon
				t.Error(l.Messages)
			}
			r := must(render(t, values))
			compare(t, "testdata/"+name+".golden", r.text)
			set := r.objects["statefulset"].(*appsv1.StatefulSet)
			checkPod(t, set)
			checkProgram(t, set, r.objects, values)
			if name == "everything" {
				checkMonitoring(t, r.objects)
			}
		})
	}
}

// checkPod checks what the restricted level of Kubernetes requires, and compares the pod with the image and the program.
func checkPod(t *testing.T, set *appsv1.StatefulSet) {
	pod, container := set.Spec.Template.Spec, set.Spec.Template.Spec.Containers[0]
	s, mounts := pod.SecurityContext, container.VolumeMounts
	if c := container.SecurityContext; *c.AllowPrivilegeEscalation || !*c.ReadOnlyRootFilesystem ||
		!slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(c.Capabilities.Add) > 0 ||
		!*s.RunAsNonRoot || s.SeccompProfile.Type != "RuntimeDefault" || *s.FSGroup != *s.RunAsGroup ||
		*pod.AutomountServiceAccountToken || container.Env[0].Name != "POD_NAME" ||
		(pod.Affinity != nil) != (*set.Spec.Replicas > 1) || set.Spec.VolumeClaimTemplates[0].Name != mounts[1].Name {
		t.Errorf("%d pods: %+v", *set.Spec.Replicas, pod)
	}
	for _, line := range []string{
		fmt.Sprintf("USER %d:%d", *s.RunAsUser, *s.RunAsGroup), "VOLUME " + mounts[1].MountPath,
		fmt.Sprintf(`CMD ["--config.file=%s/config.yml"]`, mounts[0].MountPath),
		fmt.Sprintf("EXPOSE %d", container.Ports[0].ContainerPort),
	} {
		if !strings.Contains(read("../../Dockerfile"), "\n"+line+"\n") {
			t.Errorf("the Dockerfile lacks %s", line)
		}
	}
	registry := prometheus.NewRegistry()
	handler := must(web.New(web.Options{Exporter: registry, Requests: registry, TelemetryPath: "/metrics"}))
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
		if probe != nil { // not where the program requires a password
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest("GET", probe.HTTPGet.Path, nil))
			if answer.Code != 200 {
				t.Errorf("%s: status %d", probe.HTTPGet.Path, answer.Code)
			}
		}
	}
}

// checkProgram runs --config.check as each pod, on the files of its volume. Each account must be in one pod.
func checkProgram(t *testing.T, set *appsv1.StatefulSet, objects map[string]runtime.Object, values chartutil.Values) {
	volume, accounts := t.TempDir(), ""
	write := func(name, text string) {
		text = strings.ReplaceAll(text, "/var/lib/bunq_exporter", volume)
		must(0, os.WriteFile(filepath.Join(volume, name), []byte(text), 0o600))
	}
	must(0, os.CopyFS(volume, os.DirFS("../testdata/tls"))) // the files of webTLSSecret
	for name, text := range objects["configmap"].(*corev1.ConfigMap).Data {
		write(name, text)
		accounts += text
	}
	for _, account := range values["accounts"].([]any) {
		name := account.(map[string]any)["name"].(string)
		write(name, "key") // of existingSecret
		if strings.Count(accounts, "name: "+name+"\n") != 1 {
			t.Errorf("%s is not in exactly one shard:\n%s", name, accounts)
		}
	}
	for _, template := range []string{"secret", "web-secret"} {
		if secret, ok := objects[template].(*corev1.Secret); ok {
			for name, text := range secret.Data {
				write(name, string(text))
			}
		}
	}
	for pod := range *set.Spec.Replicas {
		args := strings.Join(set.Spec.Template.Spec.Containers[0].Args, " ")
		name := fmt.Sprintf("%s-%d", set.Name, pod)
		args = strings.NewReplacer("$(POD_NAME)", name, "/etc/bunq_exporter", volume).Replace(args)
		var output bytes.Buffer
		if code := app.Run(t.Context(), strings.Fields("--config.check "+args), &output, &output); code != 0 {
			t.Errorf("%s: exit status %d: %s", args, code, &output)
		}
	}
}

// checkMonitoring compares the path with that of the program, and the rules and dashboards with those of the repository.
func checkMonitoring(t *testing.T, objects map[string]runtime.Object) {
	path := objects["servicemonitor"].(*monitoringv1.ServiceMonitor).Spec.Endpoints[0].Path
	var help bytes.Buffer
	app.Run(t.Context(), []string{"--help"}, &help, &help)
	if !strings.Contains(help.String(), `--web.telemetry-path="`+path+`"`) {
		t.Errorf("%s is not the default of --web.telemetry-path", path)
	}
	readFor := func(path string) string {
		return strings.ReplaceAll(read(path), "http://localhost:10059", "https://bunq.example")
	}
	var want monitoringv1.PrometheusRuleSpec
	must(0, yaml.UnmarshalStrict([]byte(readFor("../../alerts/bunq.rules.yml")), &want))
	if diff := cmp.Diff(want, objects["prometheusrule"].(*monitoringv1.PrometheusRule).Spec); diff != "" {
		t.Errorf("rules, -want +got:\n%s", diff)
	}
	dashboards := objects["dashboards"].(*corev1.ConfigMap).Data
	for _, file := range must(filepath.Glob("../../dashboards/*")) {
		if diff := cmp.Diff(readFor(file), dashboards[filepath.Base(file)]); diff != "" {
			t.Errorf("%s, -want +got:\n%s", file, diff)
		}
	}
}

func TestChartInvalidValues(t *testing.T) {
	for want, values := range must(chartutil.ReadValuesFile("testdata/invalid.yaml")) {
		all := must(chartutil.ReadValuesFile("testdata/defaults.yaml"))
		maps.Copy(all, values.(map[string]any))
		if _, err := render(t, all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", values, err, want)
		}
	}
}

// The example of config.yml has every key.
func TestChartSchemaOfAccounts(t *testing.T) {
	key := regexp.MustCompile(`(?m)^ +(?:- |# )?([a-z_]+): \S`)
	for _, match := range key.FindAllStringSubmatch(read("../../config.yml.example"), -1) {
		allowed := strings.Contains(read(folder+"values.schema.json"), `"`+match[1]+`": {`)
		if allowed == (match[1] == "api_key") { // a ConfigMap is no place for it
			t.Errorf("key %s of an account: allowed is %v", match[1], allowed)
		}
	}
}

func TestChartReadmeAndVersion(t *testing.T) {
	before, _, _ := strings.Cut(read(folder+"README.md"), "```yaml\n")
	newest := regexp.MustCompile(`(?m)^## v(\S+)`).FindStringSubmatch(read("../../CHANGELOG.md"))[1]
	if chart := must(loader.Load(folder)); chart.Metadata.Version != newest || chart.AppVersion() != newest {
		t.Errorf("the chart has version %s of %s, want both %s", chart.Metadata.Version, chart.AppVersion(), newest)
	}
	compare(t, folder+"README.md", before+"```yaml\n"+read(folder+"values.yaml")+"```\n")
}
