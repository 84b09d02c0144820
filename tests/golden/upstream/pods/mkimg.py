#!/usr/bin/env python3
"""mkimg.py BUSYBOX AGNHOST OUTDIR - builds the docker-archive tars of the images the corpus uses.
BUSYBOX, AGNHOST: paths of statically linked executables."""
import tarfile,io,json,hashlib,sys,os,subprocess
def layer(files,links=(),dirs=()):
    b=io.BytesIO(); t=tarfile.open(fileobj=b,mode='w')
    for d in dirs:
        n,mode=(d if isinstance(d,tuple) else (d,0o755))
        i=tarfile.TarInfo(n); i.type=tarfile.DIRTYPE; i.mode=mode; t.addfile(i)
    for dst,data,mode in files:
        i=tarfile.TarInfo(dst); i.size=len(data); i.mode=mode; t.addfile(i,io.BytesIO(data))
    for l,to in links:
        i=tarfile.TarInfo(l); i.type=tarfile.SYMTYPE; i.linkname=to; t.addfile(i)
    t.close(); return b.getvalue()
def image(out,ref,lay,cfg):
    did='sha256:'+hashlib.sha256(lay).hexdigest()
    c=json.dumps({"architecture":"amd64","os":"linux","config":cfg,"rootfs":{"type":"layers","diff_ids":[did]},"history":[{"created_by":"golden"}]}).encode()
    cid=hashlib.sha256(c).hexdigest()
    m=json.dumps([{"Config":cid+".json","RepoTags":ref,"Layers":["l/layer.tar"]}]).encode()
    t=tarfile.open(out,'w')
    for n,d in ((cid+".json",c),("l/layer.tar",lay),("manifest.json",m)):
        i=tarfile.TarInfo(n); i.size=len(d); t.addfile(i,io.BytesIO(d))
    t.close()
rd=lambda p:open(p,'rb').read()
bb,ag,out=sys.argv[1:4]
apps=[a for a in subprocess.run([bb,"--list"],capture_output=True,text=True).stdout.split() if a not in("busybox",)]
base=["bin",("tmp",0o1777),"etc",("root",0o700),"usr","usr/bin","home","var","proc","sys","dev",("work",0o755),("data",0o755)]
pw=[("etc/passwd",b"root:x:0:0:root:/root:/bin/sh\nimguser:x:1000:1000::/home:/bin/sh\n",0o644),
    ("etc/group",b"root:x:0:\nimguser:x:1000:\nimggroup:x:50000:imguser\n",0o644)]
bbl=[("bin/"+a,"busybox") for a in apps]
P=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
L=layer([("bin/busybox",rd(bb),0o755)]+pw,bbl,base)
N="golden.local/"
image(out+"/busybox.tar",[N+"busybox:1",N+"busybox:2",N+"busybox:latest"],L,{"Cmd":["sh"],"Env":P})
image(out+"/cfg.tar",[N+"cfg:1"],L,{"Entrypoint":["/bin/sh","-c"],"Cmd":["id; pwd; echo FROMIMG=$FROMIMG"],"User":"1000","WorkingDir":"/work","Env":P+["FROMIMG=image","OVER=image"]})
image(out+"/named.tar",[N+"named:1"],L,{"Cmd":["sleep","3600"],"User":"imguser","Env":P})
image(out+"/agnhost.tar",[N+"agnhost:1"],layer([("bin/busybox",rd(bb),0o755),("agnhost",rd(ag),0o755)]+pw,bbl,base),{"Entrypoint":["/agnhost"],"Cmd":["pause"],"Env":P})
# served by registry.py; its config (so its image ID) must differ from every preloaded image: a kubelet that has pulled an image ID once
# no longer treats other names of that ID as preloaded, and pulls them again
image(out+"/registry.tar",["127.0.0.1:5055/golden/bb:1"],L,{"Cmd":["sh"],"Env":P+["FROM_REGISTRY=1"]})
