package shop;

import jakarta.servlet.http.HttpServletRequest;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.security.access.prepost.PreAuthorize;
import org.springframework.security.core.Authentication;
import org.springframework.security.core.GrantedAuthority;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** One service three times: who calls is told by headers, by the caller's token, or signed. */
@SpringBootApplication
@RestController
public class UserService {

    public static void main(String[] arguments) {
        SpringApplication.run(UserService.class, arguments);
    }

    @GetMapping({"/headers/me", "/tokens/me", "/signed/me"})
    public Map<String, Object> me(Authentication caller) {
        List<String> authorities =
                caller.getAuthorities().stream().map(GrantedAuthority::getAuthority).sorted().toList();
        return Map.of("name", caller.getName(), "authorities", authorities);
    }

    @GetMapping({"/headers/admin", "/signed/admin"})
    @PreAuthorize("hasRole('ADMIN')")
    public Map<String, Object> admin(Authentication caller) {
        return me(caller);
    }

    @GetMapping("/tokens/write")
    @PreAuthorize("hasAuthority('SCOPE_profile.write')")
    public Map<String, Object> write(Authentication caller) {
        return me(caller);
    }

    /** For tests: what came in. */
    @GetMapping("/headers/received")
    public Map<String, List<String>> received(HttpServletRequest request) {
        Map<String, List<String>> received = new TreeMap<>();
        for (String name : Collections.list(request.getHeaderNames())) {
            received.put(name.toLowerCase(), Collections.list(request.getHeaders(name)));
        }
        return received;
    }
}
