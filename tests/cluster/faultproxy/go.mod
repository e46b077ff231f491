module mizzen/tests/cluster/faultproxy

go 1.24
