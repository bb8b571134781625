s = "system:serviceaccount:demo:workspace.*"
n = false
