"""What the manifests of this folder say, against Kubernetes' schemas, go-service's sources and the image's files. test_container.py runs it."""

import pathlib
import re

import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
SERVICE = HERE.parent / "go-service"
# The oldest with the action `sleep`, and the newest that the validator knows.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

passed = failed = skipped = 0


def check(name, good, why=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"ok {name}" if good else f"FAILED {name}: {why}", flush=True)


def skip(why):
    global skipped
    skipped += 1
    print(f"skipped: {why}", flush=True)


def read(name):
    documents = list(yaml.safe_load_all((HERE / name).read_text()))
    assert len(documents) == 1, f"{name}: one object per file"
    return documents[0]


def source(name):
    return (SERVICE / name).read_text()


def size(text):
    number, unit = re.fullmatch(r"(\d+)(\w*)", text).groups()
    return int(number) * (UNITS[unit] if unit else 1)


def seconds(text):
    """A duration as the service's flags and Go's sources have it."""
    return int(re.fullmatch(r"(\d+)(?:s| \* time\.Second)", text)[1])


class Manifests:
    """The objects that the tests speak of."""

    def __init__(self):
        self.deployment = read("base/deployment.yaml")
        self.pod = self.deployment["spec"]["template"]["spec"]
        self.labels = self.deployment["spec"]["template"]["metadata"]["labels"]
        [self.container] = self.pod["containers"]
        self.probes = {kind: self.container[kind] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
        self.autoscaler = read("autoscaling/autoscaler.yaml")
        self.rules = read("autoscaling/adapter-rules.yaml")["rules"]["custom"]
        self.containerfile = source("Containerfile")

    def arguments(self, flag):
        return [a.removeprefix(f"-{flag}=") for a in self.container["args"] if a.startswith(f"-{flag}=")]

    @property
    def port(self):
        [port] = self.container["ports"]
        return port["containerPort"]

    @property
    def grace(self):
        return self.pod["terminationGracePeriodSeconds"]

    def series(self):
        """The names of the series that the adapter's rules read."""
        return {name for rule in self.rules for name in re.findall(r"\w+(?=\{)", rule["seriesQuery"] + rule["metricsQuery"])}


def schemas():
    """Each object against Kubernetes' schemas, where an unknown field is an error."""
    wrong = read("base/service.yaml")
    wrong["spec"]["portz"] = []
    try:
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)
        check("an unknown field is refused", False, "it is not")
    except kubernetes_validate.ValidationError as error:
        check("an unknown field is refused", "portz" in error.message, error.message)
    for path in sorted(HERE.rglob("*.yaml")):
        name = path.relative_to(HERE).as_posix()
        kind = read(name).get("kind")
        # kustomize's own, and the values of a chart, are in no schema of Kubernetes.
        if kind in (None, "Kustomization", "Component"):
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(read(name), version, strict=True)
                check(f"{name} is valid in Kubernetes {version}", True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                check(f"{name} is valid in Kubernetes {version}", False, error.message)


def kustomizations():
    named = {HERE / "autoscaling/adapter-rules.yaml"}
    for path in HERE.rglob("kustomization.yaml"):
        named.add(path)
        kustomization = yaml.safe_load(path.read_text())
        for entry in kustomization.get("resources", []) + kustomization.get("components", []):
            target = (path.parent / entry).resolve()
            named.add(target)
            check(f"{path.parent.name}: {entry} exists", target.is_file() or (target / "kustomization.yaml").is_file())
    unnamed = [str(path.relative_to(HERE)) for path in HERE.rglob("*.yaml") if path not in named]
    check("every file is in a kustomization", not unnamed, unnamed)
    overlay = read("overlays/example/kustomization.yaml")
    image = read("base/deployment.yaml")["spec"]["template"]["spec"]["containers"][0]["image"]
    check("the overlay names the image of the deployment", [i["name"] for i in overlay["images"]] == [image])


def selectors(m):
    labels = m.labels.items()
    service, budget, policy = (read(f"base/{name}.yaml")["spec"] for name in ("service", "disruption-budget", "network-policy"))
    for name, selector in {
        "the deployment": m.deployment["spec"]["selector"]["matchLabels"],
        "the service": service["selector"],
        "the disruption budget": budget["selector"]["matchLabels"],
        "the network policy": policy["podSelector"]["matchLabels"],
    }.items():
        check(f"{name} selects the pods", selector and selector.items() <= labels, selector)
    target = m.autoscaler["spec"]["scaleTargetRef"]
    of = m.deployment
    check(
        "the autoscaler scales the deployment",
        (target["apiVersion"], target["kind"], target["name"]) == (of["apiVersion"], of["kind"], of["metadata"]["name"]),
    )
    label = "_".join(["__meta_kubernetes_pod_label", *re.split(r"[./]", next(iter(m.labels)))])
    [scrape] = read("prometheus.yml")["scrape_configs"]
    keep = scrape["relabel_configs"][0]
    check("Prometheus finds the pods by their label", keep["source_labels"][0] == label, keep)
    check("Prometheus finds the port by its name", keep["regex"] == f"{m.labels['app.kubernetes.io/name']};{m.container['ports'][0]['name']}", keep)
    [claim] = [v["persistentVolumeClaim"]["claimName"] for v in m.pod["volumes"]]
    check("the volume's claim is there", claim == read("base/models.yaml")["metadata"]["name"], claim)


def ports(m):
    [listen] = m.arguments("listen")
    check("the service listens on the container's port, on all addresses", listen == f":{m.port}", listen)
    check("the image exposes it", f"\nEXPOSE {m.port}\n" in m.containerfile)
    name = m.container["ports"][0]["name"]
    used = [probe["httpGet"]["port"] for probe in m.probes.values()]
    used += [port["targetPort"] for port in read("base/service.yaml")["spec"]["ports"]]
    used += [port["port"] for rule in read("base/network-policy.yaml")["spec"]["ingress"] for port in rule["ports"]]
    check("probes, service and network policy name it", set(used) == {name}, used)


def of_the_service(m):
    """Names that the service's sources must have."""
    public = re.findall(r'add\("GET", "([^"]+)", public,', source("server.go"))
    for kind, probe in m.probes.items():
        path = probe["httpGet"]["path"]
        check(f"{kind}: {path} is a route without a key", path in public, public)
    flags = set(re.findall(r'flags\.\w+\((?:&[^"]*)?"([a-z-]+)"', source("main.go")))
    flags |= set(re.findall(r'^\ttask\w+ +task = "(\w+)"', source("models.go"), re.M))
    used = {re.match(r"-([a-z-]+)=", argument)[1] for argument in m.container["args"]}
    check("the arguments are flags of the service", used <= flags, used - flags)
    variables = set(re.findall(r'environment\("(\w+)"\)', source("main.go")))
    secrets = {variable["name"] for variable in m.container["env"] if "secretKeyRef" in variable["valueFrom"]}
    check("the service reads the secret's variable", secrets and secrets <= variables, secrets)
    others = {variable["name"]: variable["valueFrom"] for variable in m.container["env"] if variable["name"] not in secrets}
    check("Go's threads follow the limit of CPUs", others == {"GOMAXPROCS": {"resourceFieldRef": {"resource": "limits.cpu"}}}, others)
    exported = source("metrics.go")
    for name in sorted(m.series()):
        family = re.sub(r"_(sum|count|bucket)$", "", name)
        check(f"the service exports {name}", f'"{family}"' in exported)
    offered = {rule["name"]["as"] for rule in m.rules}
    wanted = {metric["pods"]["metric"]["name"] for metric in m.autoscaler["spec"]["metrics"]}
    check("the adapter's rules have the autoscaler's metrics", wanted == offered, (wanted, offered))


def times(m):
    [shutdown] = map(seconds, m.arguments("shutdown-timeout"))
    cancel = seconds(re.search(r"^const cancelTimeout = (.+)$", source("main.go"), re.M)[1])
    stop = m.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    check("the grace period is longer than preStop, shutdown and cancelling together", m.grace > stop + shutdown + cancel, m.grace)
    [timeout] = map(seconds, m.arguments("timeout"))
    check("a request that runs at SIGTERM may take its whole time", shutdown >= timeout, (shutdown, timeout))


def resources(m):
    limits = m.container["resources"]["limits"]
    check("requests equal limits", m.container["resources"]["requests"] == limits)
    check("the limit is whole CPUs", re.fullmatch(r"\d+", limits["cpu"]), limits["cpu"])
    [each] = map(int, m.arguments("memory-limit"))
    models = len({argument for flag in ("embed", "generate", "rerank") for argument in m.arguments(flag)})
    check("the models' memory leaves 192 MiB for the rest", models * each + 192 * 2**20 <= size(limits["memory"]), limits["memory"])


def security(m):
    pod, container = m.pod["securityContext"], m.container["securityContext"]
    check("not root", pod["runAsNonRoot"] is True and pod["runAsUser"] > 0)
    check("no capabilities", container["capabilities"] == {"drop": ["ALL"]} and container["allowPrivilegeEscalation"] is False)
    check("read-only root and models", container["readOnlyRootFilesystem"] is True and all(v["readOnly"] for v in m.container["volumeMounts"]))
    check("seccomp", pod["seccompProfile"] == {"type": "RuntimeDefault"})
    check("no token of the cluster", m.pod["automountServiceAccountToken"] is False)
    check("the image's user is the pod's", f"\nUSER {pod['runAsUser']}:{pod['runAsGroup']}\n" in m.containerfile)
    under = m.container["volumeMounts"][0]["mountPath"] + "/"
    places = [argument.partition("=")[2] for flag in ("embed", "generate", "rerank") for argument in m.arguments(flag)]
    check("the models are on the volume", places and all(place.startswith(under) for place in places), places)


def built(text):
    """What kustomize makes of the overlay."""
    objects = {document["kind"]: document for document in yaml.safe_load_all(text)}
    check("the overlay has all objects", len(objects) == 6, sorted(objects))
    for kind, thing in objects.items():
        try:
            kubernetes_validate.validate(thing, VERSIONS[-1], strict=True)
            check(f"the overlay's {kind} is valid, in its namespace", thing["metadata"]["namespace"] == "kinglet", thing["metadata"])
        except kubernetes_validate.ValidationError as error:
            check(f"the overlay's {kind} is valid", False, error.message)
    deployment = objects["Deployment"]["spec"]
    check("the autoscaler alone sets the replicas", "replicas" not in deployment)
    [container] = deployment["template"]["spec"]["containers"]
    check("the overlay sets the image", container["image"] == "registry.example.com/kinglet/go-service:0.1.0", container["image"])


def run():
    m = Manifests()
    schemas()
    kustomizations()
    for test in (selectors, ports, of_the_service, times, resources, security):
        test(m)
    return m
