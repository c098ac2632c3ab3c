# What modules/project writes into a project's metadata, there and here. The script ends where another one may
# follow; the program has to travel compressed, as on an instance.
locals {
  seed = {
    program        = base64gzip(file("${local.dist}/peermasq.sh"))
    startup_script = file("${local.dist}/startup-script.sh")
  }
}
