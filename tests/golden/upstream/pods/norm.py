"""Normalisation shared by the kubectl, pods and cri recorders.  Standard library only."""
import re, json
ALPHA='bcdfghjklmnpqrstvwxz2456789'
KEEP_IP=re.compile(r'^(127\.|0\.0\.0\.0$|192\.0\.2\.|255\.|1\.2\.3|203\.0\.113\.)')
def runtime_error(o):
    """The runtime's own sentence after a failed start is its own business: the comparers apply this to both sides."""
    if isinstance(o,dict): return {k:runtime_error(v) for k,v in o.items()}
    if isinstance(o,list): return [runtime_error(v) for v in o]
    if isinstance(o,str):
        # where the digits of the pod's address show: the size of the file that names it
        o=re.sub(r'(?m)^(-rw-r--r-- +1 root +root +)\d+( .* /etc/hosts)$',r'\1<SIZE>\2',o)
        return re.sub(r'failed to (create (containerd )?(task|container)|start container)\b.*','<RUNTIME-ERROR>',o,flags=re.S)
    return o
class Norm:
    def __init__(self):
        self.lit=[]            # (literal, placeholder), longest first
        self.keepip=set()
    def add(self,lit,ph):
        if lit and (lit,ph) not in self.lit: self.lit.append((lit,ph))
    def learn_objects(self,objs):
        """objs: API objects with generateName / pod-template-hash labels: their random parts become placeholders"""
        for o in objs:
            m=o.get('metadata',{}); lab=m.get('labels') or {}
            h=lab.get('pod-template-hash') or lab.get('controller-revision-hash')
            n=m.get('name',''); g=m.get('generateName')
            if g and n.startswith(g) and re.fullmatch('['+ALPHA+r']{5}',n[len(g):]):
                ph=g+'<RAND>'
                if lab.get('pod-template-hash'): ph=ph.replace(lab['pod-template-hash'],'<HASH>')
                self.add(n,ph)
            elif lab.get('pod-template-hash') and n.endswith(lab['pod-template-hash']):
                self.add(n,n[:-len(lab['pod-template-hash'])]+'<HASH>')
            if h and not re.search('-',h): self.add(h,'<HASH>')
            elif h: self.add(h,re.sub(r'[^-]+$','<HASH>',h))
    def text(self,s):
        if not s: return s
        for lit,ph in sorted(self.lit,key=lambda x:-len(x[0])): s=s.replace(lit,ph)
        s=re.sub(r'eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+','<TOKEN>',s)
        s=re.sub(r'\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b','<UID>',s)
        s=re.sub(r'\b([IWEF])\d{4} \d\d:\d\d:\d\d\.\d{6}\s+\d+ ([a-z_]+\.go):\d+\]',r'\1<KLOG> \2:<LINE>]',s)
        s=re.sub(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)','<TIME>',s)
        s=re.sub(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4}( UTC| [A-Z]+)?)?','<TIME>',s)
        s=re.sub(r'(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}','<TIME>',s)
        s=re.sub(r'("?resourceVersion"?: ?\\?"?)\d+',r'\g<1><RV>',s)
        s=re.sub(r'(?i)(resource ?version:?\s+)\d+',r'\g<1><RV>',s)
        s=re.sub(r'\b(containerd|docker|cri-o|kedge)://[0-9a-f]{64}','<RUNTIME>://<CID>',s)
        s=re.sub(r'sha256:[0-9a-f]{64}','sha256:<DIGEST>',s)
        s=re.sub(r'\b[0-9a-f]{64}\b','<HEX64>',s)
        s=re.sub(r'\b[0-9a-f]{32}\b','<HEX32>',s)
        s=re.sub(r'\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d ( \d{4}|\d\d:\d\d)','<DATE>',s)
        s=re.sub(r'\.[0-9a-f]{16}\b','.<EVHASH>',s)
        s=re.sub(r'kube-api-access-['+ALPHA+r']{5}\b','kube-api-access-<RAND>',s)
        s=re.sub(r'node-debugger-([A-Za-z0-9<>_-]+)-['+ALPHA+r']{5}\b',r'node-debugger-\1-<RAND>',s)
        s=re.sub(r'debugger-['+ALPHA+r']{5}\b','debugger-<RAND>',s)
        s=re.sub(r'\bin [0-9.]+(ms|s|µs)( \([0-9.]+(ms|s|µs) including waiting\))?','in <DUR>',s)
        s=re.sub(r'kubectl-edit-\d+','kubectl-edit-<N>',s)
        s=re.sub(r'Image size: \d+ bytes','Image size: <SIZE> bytes',s)
        s=re.sub(r'\b(\d{1,3}(?:\.\d{1,3}){3})\b',lambda m:m[1] if KEEP_IP.match(m[1]) or m[1] in self.keepip else '<IP>',s)
        s=re.sub(r'(<IP>):\d{5}(?=->)',r'\1:<PORT>',s)
        s=re.sub(r'\b(?:containerd|kedge)://\d+\.\d+\.\d+\S*','<RUNTIME>://<VERSION>',s)
        out=[]
        for l in s.split('\n'):
            u='s' if re.search('cpu|CPU',l) else 'smhdy'
            if not re.search(r'^\s*(\"|- |\{)|op=Exists for|[Bb]ack-off \d|global timeout reached|timed out after|tolerationSeconds',l):
                l=re.sub(r'(?<=[\s(])(?:\d+[%s])(?:\d+[smhd])?(?=[\s)]|$)'%u,'<AGE>',l)
                l=re.sub(r'^\d+[smhd](\d+[smhd])?(?=\s{2,})','<AGE>',l)
                l=re.sub(r'(?<=[\s(])\d+m\d+s(?=[\s)]|$)','<AGE>',l)
                l=re.sub(r'<invalid>(?=\s|$)','<AGE>',l)
            out.append(l)
        return '\n'.join(out)
    def obj(self,o):
        if isinstance(o,dict): return {self.text(k) if isinstance(k,str) else k:self.obj(v) for k,v in o.items()}
        if isinstance(o,list): return [self.obj(v) for v in o]
        if isinstance(o,str): return self.text(o)
        return o
